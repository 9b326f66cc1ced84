"""Where jobs run: their own GPU on a shared machine, several processes, several nodes, and SLURM. Nothing here imports torch."""
