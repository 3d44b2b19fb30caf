# Everything runs in .venv, which the first target makes; see scripts/bootstrap.
# ARGS are handed on:  make test ARGS="tests/core -k window"    make demo ARGS=--help

.DEFAULT_GOAL := help
BIN := .venv/bin
ARGS ?=
PYTEST := $(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder
# CHECKED=yes: `make check` was green a moment ago.
CHECKS := $(if $(CHECKED),dev,check)

# Programs that tests start are compiled once and not at every start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-all check format bench faults mutation contract lock clean runtime dev

help: ## say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: runtime ## watch a fleet of agents on a real broker: a variant collapses and is rolled back
	@$(BIN)/crl demo $(ARGS)

test: $(CHECKS) ## the checks, then the tests of a few minutes (they bring their own broker)
	@$(PYTEST) --no-long $(ARGS)

test-all: $(CHECKS) ## the checks, then every test: faults, whole installations, containers too
	@$(PYTEST) $(ARGS)

check: dev ## lint, format, types, and whether the pins fit pyproject.toml
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet || { echo "hint: make format" >&2; exit 1; }
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/python scripts/lock.py --check
	@echo "lint, format, types and pins are right"

format: dev ## lay the code out, and fix what the linter can fix
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format --quiet

bench: dev ## measure us and others side by side, 25 minutes (ARGS="--quick", or the names of sections)
	@$(BIN)/python -m benchmarks $(ARGS)

faults: runtime ## break things on purpose, and count what is lost or doubled (ARGS=live, "simulate --seeds 10000", mutants, live-mutants)
	@$(BIN)/python -m campaign $(or $(ARGS),simulate)

mutation: dev ## take one condition of core/monitor away at a time: which does no quick test notice? (ARGS="verdict window"; not `make faults ARGS=mutants`, which takes guards away from whole stages)
	@$(BIN)/python scripts/mutation.py $(ARGS)

contract: dev ## bring the schemas and the AsyncAPI document in topics/, the picture in README.md and docs/lifecycle.md up to date
	@$(BIN)/python -m crl_stream.contract.generator

lock: dev ## pin the requirements again (ARGS=--upgrade takes the newest)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
	@$(BIN)/python scripts/lock.py $(ARGS)

clean: ## remove the virtual environments and all that checks and builds left (the demo's data stays)
	@rm -rf .venv .venv-bench build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

runtime dev:
	@scripts/bootstrap $@
