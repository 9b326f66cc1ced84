# report: one self-contained page with everything that was made.

rule report:
    output: "results/report/index.html"
    shell: "false"
