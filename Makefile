# Targets and what they do: python -m workflow_scripts.make --help. The first two: make demo, make test.

# The first of these that is there and new enough.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null && echo $$python && break; done)
TARGETS := demo test test-environment lint docs golden slurm driver config bench clean

.PHONY: $(TARGETS)
.DEFAULT_GOAL := demo

$(TARGETS):
	@$(or $(PYTHON),$(error no Python 3.11 or newer is in PATH; name one: make PYTHON=...)) -m workflow_scripts.make $@
