# select: the iteration with the best trade-off between identity and pose becomes the avatar.


rule select:
    input:
        scores="results/avatars/{identity}/scores.csv",
        frame_scores="results/avatars/{identity}/frame_scores.csv",
        sweep="results/avatars/{identity}/sweep",
    output:
        model=UNSIGNED_MODEL,
        table="results/avatars/{identity}/sweep.csv",
        plot=report(
            "results/avatars/{identity}/sweep.png",
            caption="captions/sweep.rst",
            category="Sweep",
            labels={"identity": "{identity}"},
        ),
        selected="results/avatars/{identity}/selected.json",
    log:
        "logs/select/{identity}.log",
    benchmark:
        "results/benchmarks/select/{identity}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
    params:
        code=code("select"),
        settings=section("select"),
        choose=chosen_iteration,
    shell:
        "exec python -m workflow_scripts.launch --log {log:q}"
        " select --scores {input.scores:q} --frame-scores {input.frame_scores:q} --sweep {input.sweep:q}"
        " --model {output.model:q} --table {output.table:q} --plot {output.plot:q} --selected {output.selected:q}"
        " --choose {params.choose} --settings {params.settings:q}"
