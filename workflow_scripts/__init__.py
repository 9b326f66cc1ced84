"""The command lines of the stages: `python -m workflow_scripts.<stage> --help`.

A script imports its stage once its command line is read, so that `--help` and mistakes do not wait for torch.
"""
