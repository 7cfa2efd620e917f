# The commands of the README. `make` alone lists them.

PYTHON ?= python3
PYTEST_ARGS ?=

BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help run demo test bench faults check translations clean

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

run: .venv/installed  ## start everything on this machine (PORT, INSTANCE move it)
	@$(BIN)/python -m workers.development

demo: .venv/installed  ## play the whole way of a launch once, with its accidents
	@$(BIN)/python -m workers.development.demo

test: .venv/installed-dev  ## run the tests (PYTEST_ARGS="-k place" picks some)
	@$(BIN)/python -m pytest -n auto $(PYTEST_ARGS)

bench: .venv/installed-dev  ## measure it beside its ceilings (QUICK=1, FULL=1, ONLY=place,line)
	@$(BIN)/python -m tests.bench

faults: .venv/installed-dev  ## break it in every way on SQLite and PostgreSQL (DATABASE=sqlite, ONLY=words)
	@$(BIN)/python -m tests.faults

check: .venv/installed-dev  ## style, types, translations, house rules
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { echo "Not formatted: run .venv/bin/ruff format ."; exit 1; }
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/python -m workers.development.translations
	@$(BIN)/python -m pytest tests/house

translations: .venv/installed-dev  ## bring the catalogs up to date with the sources
	@$(BIN)/python -m workers.development.translations --update

clean:  ## remove what make and the tools made (never instance/)
	@rm -rf .venv build .pytest_cache .mypy_cache .ruff_cache .hypothesis test-results
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/installed: requirements.txt | .venv/bin/pip
	@echo "Installing requirements.txt into .venv …"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/installed-dev: requirements-dev.txt .venv/installed
	@echo "Installing requirements-dev.txt into .venv …"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements-dev.txt
	@touch $@

.venv/bin/pip:
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON): install Python 3.11 or later, or name it, as in make run PYTHON=python3.12." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("This needs Python 3.11 or later, and $(PYTHON) is %d.%d: name another, as in make run PYTHON=python3.12." % sys.version_info[:2])'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) can't make virtual environments: install them first, on Debian and Ubuntu with: apt install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv .venv
