# SPDX-License-Identifier: Apache-2.0
# `make help` lists the targets. Every target sets up what is missing first.

PYTHON ?= python3
SETUP = @PYTHONPATH=tools $(PYTHON) -B -m bootstrap --quiet
RUN = tools/run
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint fix types bench lock clean distclean

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: ## Make the environment and build the workspace; EXTRAS=1: optional packages too
	@PYTHONPATH=tools $(PYTHON) -B -m bootstrap

demo: ## Watch two simulated robots get better (ARGS='--quick' for 3 minutes)
	$(SETUP)
	@.venv/bin/lwd demo $(ARGS)

test: ## Lint, types, unit tests and system tests (ARGS are given to pytest)
	$(SETUP)
	@$(RUN) python -B tools/check.py lint types tests -- $(ARGS)

lint: ## Check style and types
	$(SETUP)
	@$(RUN) python -B tools/check.py lint types

fix: ## Repair what ruff can repair by itself
	$(SETUP)
	@$(RUN) ruff check --fix .

bench: ## Run a benchmark: make bench NAME=x runs benchmarks/x.py with ARGS
	$(SETUP)
	@$(RUN) python -B tools/bench.py "$(NAME)" $(ARGS)

lock: ## Resolve requirements/*.in to pinned *.txt (needs uv)
	@tools/lock.sh

clean: ## Remove the build and caches; results, data and the environment stay
	rm -rf build install log .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tools tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

distclean: clean ## Remove the Python environment as well
	rm -rf .venv
