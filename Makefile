# Every target sets itself up: a virtual environment in .venv, installed from pyproject.toml with the pins of
# constraints.txt, made anew only when one of the two has changed. PYTEST_ARGS adds to what pytest is called with.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST_ARGS ?=
VARIANT ?= all

.PHONY: help setup quickstart test test-all test-elsewhere test-cluster lint format clean

help:
	@echo "make quickstart  set up, train a small MGFusion on generated scenes, test it, write fused pictures (CPU, minutes)"
	@echo "make test        set up and run the tests (not those marked slow, gpu or cluster)"
	@echo "make test-all    the same with the slow ones"
	@echo "make test-elsewhere  make test as another user, in odd places, orders, languages and time zones (about 40 minutes)"
	@echo "make test-cluster  submit, end and requeue jobs on a SLURM of this machine's own (installs it, as root)"
	@echo "make lint        ruff and mypy"
	@echo "make format      ruff format and its safe fixes"
	@echo "make clean       remove caches and the virtual environment (never runs/)"

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (torch and its libraries: about 6 GB the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

setup: $(STAMP)

quickstart: $(STAMP)
	@$(BIN)/python -m commands.quickstart

test: $(STAMP)
	@$(BIN)/python -m pytest -m "not slow and not gpu and not cluster" $(PYTEST_ARGS)

test-all: $(STAMP)
	@$(BIN)/python -m pytest -m "not gpu and not cluster" $(PYTEST_ARGS)

test-elsewhere: $(STAMP)
	@$(BIN)/python scripts/test_elsewhere.py --variant $(VARIANT) $(PYTEST_ARGS)

test-cluster: $(STAMP)
	@sh tests/cluster/install.sh
	@$(BIN)/python -m pytest -m cluster tests/cluster

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy .

format: $(STAMP)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
