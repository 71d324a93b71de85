# Nocturne's commands. `make` alone explains them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VAR := $(abspath $(or $(NOCTURNE_VAR),var))
VENV := $(VAR)/venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST := $(BIN)/python -m pytest
# Whole files go to as many processes as there are cores, each with a PostgreSQL of its own; the long ones come first.
SHARED := -n logical --maxprocesses 4 --no-loadscope-reorder

.PHONY: help setup nightly up down test test-slow check format lock docs contracts bench clean

help: ## say what each command does
	@echo "Nocturne: nightly analytics for music streaming, many tenants on one installation."
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  Settings: nocturne.toml or NOCTURNE_* variables (\`$(BIN)/nocturne settings\` lists them). All state stands in $(VAR)."

setup: $(READY) ## install what is missing: Python packages by the hash-pinned lock file

$(READY): requirements.lock pyproject.toml .ci/setup
	@.ci/setup "$(VAR)"
	@touch $@

nightly: setup ## run every tenant's night through Airflow and show where the results are (TENANTS="a b" for some)
	@$(BIN)/nocturne nightly $(TENANTS)

up: setup ## leave Airflow, MLflow and the demo running, and say where
	@$(BIN)/nocturne up

down: ## end what `make up` started, and nothing else
	@if [ -x $(BIN)/nocturne ]; then $(BIN)/nocturne down $(DATABASE); else echo "nothing is set up"; fi

test: setup ## run all tests but the slow ones
	@$(BIN)/nocturne tools
	$(PYTEST) $(SHARED) -m "not slow"

test-slow: setup ## run the slow tests
	@$(BIN)/nocturne tools
	$(PYTEST) $(SHARED) -m slow

check: setup ## lint, types, contracts between the rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd dbt && $(BIN)/sqlfluff lint --processes 2 models tests
	$(BIN)/mypy
	$(BIN)/lint-imports --cache-dir $(VAR)/cache/import-linter
	$(BIN)/nocturne tenants check
	$(BIN)/nocturne metrics check

format: setup ## write the code's form anew
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	cd dbt && $(BIN)/sqlfluff fix --processes 2 models tests

docs: setup ## write the documentation of marts and metrics: one file to open
	@$(BIN)/nocturne docs

contracts: setup ## write down what the marts promise now; refuses what would break their readers
	WRITE_CONTRACTS=1 $(PYTEST) -q tests/integration/marts/test_contracts.py

bench: setup ## run one benchmark: make bench NAME=nightly (its last line is JSON)
	@test -n "$(NAME)" || { echo "which one? make bench NAME=..., of:"; ls benchmarks/*.py | xargs -n1 basename -s .py; exit 2; }
	@$(BIN)/python -m benchmarks.$(NAME)

lock: ## resolve requirements.lock anew from pyproject.toml
	uv pip compile pyproject.toml --extra development --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header --no-annotate -o requirements.lock

clean: DATABASE = --remove
clean: down ## end all and remove all state, the results among it
	rm -rf $(VAR)
