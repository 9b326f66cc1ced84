# make demo: build the shipped config.yaml's avatars.  make test: lint and run the tests.  make bench: measure speed.  All set up .venv first.
# make lint: formatting, names, types, layers of the code, Snakemake rules.  make docs: build site/ from docs/; a broken link is an error.
# make golden: make the golden numbers of tests/test_golden.py anew, after a change that is meant to alter numbers.
# make driver: set up what sends jobs to SLURM, beside it (docs/cluster.md).

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
BIN := $(CURDIR)/.venv/bin
READY := .venv/ready
TESTS := .venv/ready-for-tests
DRIVER := .venv-driver/ready
# `make test COVERAGE=` takes a fifth less time, and prints no coverage.
COVERAGE ?= --cov
# The rules call `python`: the environment's has to come first.
export PATH := $(BIN):$(PATH)

.PHONY: demo test test-environment lint docs golden driver config bench clean
.DEFAULT_GOAL := demo

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt --editable .
	touch $(READY)

$(TESTS): $(READY)
	$(BIN)/pip install --quiet -c constraints.txt --editable '.[test]'
	touch $(TESTS)

$(DRIVER): envs/driver.txt
	$(PYTHON) -m venv .venv-driver
	.venv-driver/bin/pip install --quiet --requirement envs/driver.txt
	touch $(DRIVER)

driver: $(READY) $(DRIVER)
	@echo "source .venv/bin/activate && .venv-driver/bin/snakemake --profile profiles/slurm"

demo: $(READY)
	snakemake --cores all
	snakemake --report results/report/snakemake.html
	@echo
	@echo "The avatars are built:"
	@echo "  videos   results/renders/<identity>/<driver>.mp4 and <driver>.side_by_side.mp4"
	@echo "  avatars  results/avatars/<identity>/model.safetensors"
	@echo "  report   results/report/index.html   (open it in a browser)"

test-environment: $(TESTS)

test: lint docs
	pytest $(COVERAGE)

lint: $(TESTS)
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile rules/*.smk
	lint-imports
	mypy

docs: $(TESTS)
	mkdocs build --strict --quiet

golden: $(TESTS)
	python tests/support/golden.py

# docs/settings.md and docs/config.schema.json come from the schema in reenact/settings/.
config: $(READY)
	python -m workflow_scripts.write_reference

# Speed, as ratios of one run: preprocessing against the libraries that it uses. Memory of preprocessing and rendering a 10-minute driver.
# Planning with 150,000 videos, training samples from shards, and the cost of meta-learning at full size.
bench: $(READY)
	snakemake --cores 1 resources/media/WolfgangLanger_Pexels.mp4 resources/media/single_face.mp4
	python benchmarks/preprocess.py
	python benchmarks/footage_memory.py
	python benchmarks/render_memory.py
	python benchmarks/planning.py
	python benchmarks/loader.py
	python benchmarks/scale.py

clean:
	rm -rf results logs site .snakemake
