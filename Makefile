# Every target sets itself up: a virtual environment in .venv, installed from pyproject.toml with the pins of
# constraints.txt, made anew only when one of the two has changed. PYTEST_ARGS adds to what pytest is called with, and
# WORKERS says how many processes run tests (2; each takes up to 3 GB).
# The tools of lock, audit and test-minimum, and the lower bounds, have environments of their own in .cache.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TOOLS := .cache/tools
MINIMUM := .cache/minimum
PYTEST_ARGS ?=
LOCK_ARGS ?=
WORKERS ?= 2
VARIANT ?= all
ROOT ?= data
WEIGHTS ?=

.PHONY: help setup quickstart test test-all test-mutations test-elsewhere test-cluster test-minimum lint lint-types format weights lock audit clean

help:
	@echo "make quickstart  set up, train a small MGFusion on generated scenes, test it, write fused pictures (CPU, minutes)"
	@echo "make test        set up and run the tests (not those marked slow, gpu or cluster)"
	@echo "make test-all    the same with the slow ones"
	@echo "make test-mutations  make seeded faults one by one and see that the tests catch each (half an hour)"
	@echo "make test-elsewhere  make test as another user, in odd places, orders, languages and time zones (about 40 minutes)"
	@echo "make test-cluster  submit, end and requeue jobs on a SLURM of this machine's own (installs it, as root)"
	@echo "make test-minimum  make test with the lowest versions that pyproject.toml allows"
	@echo "make lint        ruff and mypy"
	@echo "make format      ruff format and its safe fixes"
	@echo "make weights     train the networks of weights/ again; ROOT=FOLDER has the datasets, WEIGHTS=\"NAME ...\" chooses"
	@echo "make lock        write requirements.lock and constraints.txt anew; LOCK_ARGS=--upgrade for newer versions"
	@echo "make audit       can the lock be installed, are vulnerabilities known, which parts are there (needs the network)"
	@echo "make clean       remove caches and the virtual environment (never runs/)"

$(STAMP): pyproject.toml setup.py constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (torch and its libraries: about 6 GB the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

setup: $(STAMP)

quickstart: $(STAMP)
	@$(BIN)/python -m ivif.commands.quickstart

test: $(STAMP)
	@$(BIN)/python -m pytest -n $(WORKERS) -m "not slow and not gpu and not cluster" $(PYTEST_ARGS)

test-all: $(STAMP)
	@$(BIN)/python -m pytest -n $(WORKERS) -m "not gpu and not cluster" $(PYTEST_ARGS)

test-mutations: $(STAMP)
	@$(BIN)/python scripts/test_mutations.py

weights: $(STAMP)
	@$(BIN)/python scripts/train_weights.py --root "$(ROOT)" $(WEIGHTS)

test-elsewhere: $(STAMP)
	@$(BIN)/python scripts/test_elsewhere.py --variant $(VARIANT) $(PYTEST_ARGS)

test-cluster: $(STAMP)
	@sh tests/cluster/install.sh
	@$(BIN)/python -m pytest -m cluster tests/cluster

test-minimum: $(MINIMUM)/.installed
	@$(MINIMUM)/bin/python -m pytest -n $(WORKERS) -m "not slow and not gpu and not cluster" $(PYTEST_ARGS)

$(TOOLS)/.installed: pyproject.toml constraints.txt
	@test -x $(TOOLS)/bin/python || $(PYTHON) -m venv $(TOOLS)
	@$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		uv pip-audit cyclonedx-bom
	@touch $@

$(MINIMUM)/.installed: pyproject.toml $(TOOLS)/.installed
	@$(TOOLS)/bin/uv venv --quiet --clear --python $(PYTHON) $(MINIMUM)
	@echo "Installing into $(MINIMUM) (torch and its libraries: about 7 GB) ..."
	@$(TOOLS)/bin/uv pip install --quiet --python $(MINIMUM)/bin/python --resolution lowest-direct --editable '.[dev]'
	@touch $@

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(MAKE) --silent lint-types

# mypy finds a package by its folder: links give the rooms the places that they have in the installed package.
lint-types: $(STAMP)
	@rm -rf .types && mkdir -p .types/ivif
	@for file in ivif/*.py $(patsubst %/__init__.py,%,$(filter-out tests/% ivif/%,$(wildcard */__init__.py))); do \
		ln -s ../../$$file .types/ivif/; done
	@$(BIN)/mypy -p ivif -p tests -p benchmarks -p scripts -m main -m setup

format: $(STAMP)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: $(TOOLS)/.installed
	@$(TOOLS)/bin/uv pip compile --quiet pyproject.toml --all-extras --universal --python-version 3.11 \
		--generate-hashes --no-annotate --custom-compile-command "make lock" --output-file requirements.lock $(LOCK_ARGS)
	@{ echo "# What CI installs: versions only, no addresses. Written by make lock, from requirements.lock."; \
		sed -n 's/ *\\$$//; /^[^ #]/p' requirements.lock; } > constraints.txt

audit: $(TOOLS)/.installed
	@$(TOOLS)/bin/python scripts/audit.py

clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
