# make run | test | test-faults | plan | bench | docs | lock | clean. Each sets up .venv first, once (envs/setup.sh).
CONFIG ?= config.yaml
PYTHON := .venv/bin/python
SETUP := .venv/.compgraph-setup
export PYTHONNOUSERSITE := 1

.DEFAULT_GOAL := run
.PHONY: run test test-faults check plan bench docs lock setup clean

run: $(SETUP)
	@.venv/bin/compgraph run --config $(CONFIG)

plan: $(SETUP)
	@.venv/bin/compgraph plan --config $(CONFIG)

test: check
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n auto --dist loadfile

test-faults: $(SETUP)
	COMPGRAPH_FAULTS=200 OMP_NUM_THREADS=1 $(PYTHON) -m pytest -q -s tests/faults

check: $(SETUP)
	$(PYTHON) -m ruff check .
	.venv/bin/lint-imports
	$(PYTHON) -m mypy

bench: $(SETUP)
	$(PYTHON) -m benchmarks

docs: $(SETUP)
	$(PYTHON) -m pytest -q tests/docs

# Newest versions that fit together and with Debian's graph-tool; look at the difference before committing it.
lock: $(SETUP)
	$(PYTHON) envs/lock.py

setup: $(SETUP)

$(SETUP): envs/setup.sh envs/requirements.lock envs/environment.yaml pyproject.toml
	@bash envs/setup.sh

clean:
	rm -rf build dist .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
