.DEFAULT_GOAL := help
.PHONY: help setup run demo test check fix generate lock bench loops storm lint static policies proto generated unit

PYTHON := .venv/bin/python
BIN := .venv/bin
WORKERS := 2

help: ## List the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | awk -F: '{printf "  %-10s %s\n", $$1, $$2}'

setup: ## Make .venv with the locked dependencies, and find or build OPA
	@tools/setup

run: setup ## Start everything, play a scripted agent, and go on serving until Ctrl-C
	@$(PYTHON) examples/demo/demo.py --serve

demo: setup ## The same, and end
	@$(PYTHON) examples/demo/demo.py

test: setup ## Run every test: pytest on real parts, and the policies' own with coverage
	$(BIN)/pytest -n $(WORKERS)
	$(BIN)/interlock policy test

unit: setup ## Run the quick tests only
	$(BIN)/pytest -n $(WORKERS) tests/unit tests/architecture

check: setup static proto policies generated test ## Everything that CI runs

static: setup
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

proto: setup
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	$(BIN)/buf breaking proto --against proto/released.binpb

policies: setup
	$(BIN)/interlock policy check

generated: setup
	@tools/check-generated

fix: setup ## Do all that can be done automatically: format, sort, regenerate
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/buf format -w
	$$(tools/install-opa) fmt --write policies policy-tests
	$(MAKE) generate

generate: setup ## Regenerate code, schemas and docs
	@tools/generate

lock: ## Update requirements.lock to the newest versions that pyproject.toml allows
	@tools/lock

bench: setup ## Measure, and write the tables into bench/README.md
	$(PYTHON) bench/run.py
	$(PYTHON) bench/facts.py
	$(PYTHON) bench/gateway.py
	$(PYTHON) bench/approvals.py

loops: setup ## Replay real agents' runs, and tell which of them the rules stop
	$(PYTHON) bench/loops.py

storm: setup ## Simulate retries of many agents while a tool fails, with Interlock and without
	$(PYTHON) bench/storm.py
