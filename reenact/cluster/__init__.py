"""Where jobs run: their own GPU on a shared machine, several processes, several nodes, and SLURM.

Only `torchrun`, which is a program, imports torch.
"""
