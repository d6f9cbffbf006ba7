# Forebay: make setup | demo | test | lint | bench | clean. Needs python3 >= 3.11 with venv.

# The distribution's interpreter where there is one that will do: those compiled by hand are seldom built with
# optimisations, and a hit then costs a third more. `make setup PYTHON=...` takes another.
PYTHON ?= $(or $(shell for each in /usr/bin/python3 python3; do \
	$$each -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && break; \
	done),python3)
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
ARGS   ?=

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
# What is compiled is kept, whatever the environment says: else each start of a node and each test process compiles
# all anew (a fifth of a second of a start).
export PYTHONDONTWRITEBYTECODE :=

.PHONY: setup demo test lint bench clean
.DEFAULT_GOAL := setup

setup: $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "forebay needs python >= 3.11: make PYTHON=...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@$(BIN)/python -m compileall -q cache gateway bench
	@touch $@

demo: setup
	@$(BIN)/forebay demo $(ARGS)

# The bulk side by side, then what needs the machine for itself (exit 5: ARGS chose none of those).
test: setup
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m 'not heavy' $(ARGS)
	$(BIN)/python -m pytest -q -m heavy $(ARGS) || test $$? -eq 5

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	@$(BIN)/python -m bench $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
