# make run | run-slurm | test | test-faults | test-slurm | plan | bench | docs | lock | clean.
# Each sets up .venv first, once (envs/setup.sh).
CONFIG ?= config.yaml
PYTHON := .venv/bin/python
SETUP := .venv/.compgraph-setup
export PYTHONNOUSERSITE := 1

.DEFAULT_GOAL := run
.PHONY: run run-slurm test test-faults test-slurm check plan bench docs lock setup clean

run: $(SETUP)
	@.venv/bin/compgraph run --config $(CONFIG)

run-slurm: $(SETUP)
	@.venv/bin/compgraph run --slurm --config $(CONFIG)

plan: $(SETUP)
	@.venv/bin/compgraph plan --config $(CONFIG)

test: check
	@bash envs/browser.sh
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n auto --dist loadfile

test-faults: $(SETUP)
	COMPGRAPH_FAULTS=200 OMP_NUM_THREADS=1 $(PYTHON) -m pytest -q -s tests/faults

# Starts a Slurm of its own on this machine: needs root, and apt-get or Debian's slurmctld, slurmd, munge.
test-slurm: $(SETUP)
	OMP_NUM_THREADS=1 COMPGRAPH_TEST_SLURM=1 $(PYTHON) -m pytest -q tests/slurm

check: $(SETUP)
	$(PYTHON) -m ruff check .
	.venv/bin/lint-imports
	$(PYTHON) -m mypy

bench: $(SETUP)
	$(PYTHON) -m benchmarks

# The site in build/site, and every code block of its pages run.
docs: $(SETUP)
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict --quiet
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -q tests/docs

# Newest versions that fit together and with Debian's graph-tool; look at the difference before committing it.
lock: $(SETUP)
	$(PYTHON) envs/lock.py

setup: $(SETUP)

$(SETUP): envs/setup.sh envs/requirements.lock envs/environment.yaml pyproject.toml
	@bash envs/setup.sh

clean:
	rm -rf build dist .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
