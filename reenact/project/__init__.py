"""A project (a folder with a `config.yaml`) from outside: editing it, building it, and seeing how far that is.

The command line and the page stand on this room. It imports no torch, so that both answer at once.
"""
