"""The command lines of the stages: `python -m workflow_scripts.<stage> --help`."""
