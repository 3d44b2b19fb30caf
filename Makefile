# Everything runs in .venv, which is created on first use; see scripts/bootstrap.
# ARGS are passed on:  make test ARGS="tests/core -k window"    make demo ARGS=--help

.DEFAULT_GOAL := help
BIN := .venv/bin
ARGS ?=
PYTEST := $(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder
# CHECKED=yes skips `make check`, for callers that have just run it.
CHECKS := $(if $(CHECKED),dev,check)

# Let Python cache its bytecode: tests start many processes, which should not compile the sources every time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-all check format bench bench-detection faults mutation contract lock clean runtime dev

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: runtime ## watch a fleet of agents on a real broker as one variant collapses and is rolled back
	@$(BIN)/crl demo $(ARGS)

test: $(CHECKS) ## run the checks, then the quick tests (a few minutes; they start their own broker)
	@$(PYTEST) --no-long $(ARGS)

test-all: $(CHECKS) ## run the checks, then every test, including faults, whole installations and containers
	@$(PYTEST) $(ARGS)

check: dev ## check lint, format and types, and that the pins match pyproject.toml
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet || { echo "hint: make format" >&2; exit 1; }
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/python scripts/lock.py --check
	@echo "lint, format, types and pins are fine"

format: dev ## format the code, and fix what the linter can fix
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format --quiet

bench: dev ## measure crl-stream and its alternatives side by side, in 25 minutes (ARGS="--quick", or names of sections)
	@$(BIN)/python -m benchmarks $(ARGS)

bench-detection: dev ## measure what decisions gain and lose in closed loop, compared with river and others, in 10 minutes (ARGS="healthy --tasks 20 --fresh")
	@$(BIN)/python -m benchmarks.detection $(ARGS)

faults: runtime ## inject faults, and count what is lost or duplicated (ARGS=live, "simulate --seeds 10000", mutants, live-mutants)
	@$(BIN)/python -m campaign $(or $(ARGS),simulate)

mutation: dev ## remove one condition of the modules that decide, map or mirror at a time, and list the removals that no quick test notices (ARGS="verdict bridges/scale"; `make faults ARGS=mutants` removes guards from whole stages instead)
	@$(BIN)/python scripts/mutation.py $(ARGS)

contract: dev ## regenerate the schemas and the AsyncAPI document in topics/, the diagram in README.md, and docs/lifecycle.md
	@$(BIN)/python -m crl_stream.contract.generator

lock: dev ## update the pinned requirements (ARGS=--upgrade uses the newest versions)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
	@$(BIN)/python scripts/lock.py $(ARGS)

clean: ## remove the virtual environments and all files created by checks and builds (the demo's data stays)
	@rm -rf .venv .venv-* build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

runtime dev:
	@scripts/bootstrap $@
