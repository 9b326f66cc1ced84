"""One module a rule of the workflow."""
