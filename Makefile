# Every target does its own set-up. What set-up says goes to standard error, so that output can be piped.

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-github fakes dev test fault-matrix test-engines check format tried bench-review bench-agent bench-web docs lock clean

BIN := .venv/bin
ARGS ?=
WORKERS ?= 2

# Found, fetched or built into the cache, with a line about what takes long.
define ensure_server
import asyncio, sys
from sdlc.config import load
from sdlc.errors import SdlcError
from sdlc.runtime.server_binary import ensure_server_binary
try:
    asyncio.run(ensure_server_binary(load().cache_dir, say=print))
except SdlcError as error:
    sys.exit(f"make test: {error}")
endef
test test-engines fault-matrix bench-agent bench-web: export ENSURE_SERVER = $(ensure_server)

help: ## Show the targets
	@awk -F ' ?## ?' '/^[a-z-]+:.*## / {sub(/:.*/, "", $$1); printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: ## Make .venv as requirements.lock has it; look for git, bubblewrap and uv, and get what is missing
	@scripts/setup >&2

demo: setup ## Run the bundled ticket for real; ARGS="--auto-approve --json" for a run without questions
	@$(BIN)/sdlc demo $(ARGS)

fakes: setup ## Imitate Jira and GitHub, with pages to work on both; ARGS="--flavour datacenter" to choose
	@$(BIN)/python -m tests.fakes $(ARGS)

demo-github: setup ## The demo's whole way from Jira to GitHub, both imitated; ARGS="--auto-approve --json" for no questions
	@$(BIN)/python -m tests.fakes.demo $(ARGS)

dev: setup ## Keep a Temporal server, its UI and a worker up until Ctrl-C
	@$(BIN)/sdlc dev $(ARGS)

test: setup ## Run the tests, the Temporal servers they need included; ARGS="-k panel" to choose
	@$(BIN)/python -u -c "$$ENSURE_SERVER" >&2
	@scripts/install-time-skipping-server >&2
	@scripts/install-chromium >&2
	@$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

fault-matrix: setup ## Run every call to Jira, GitHub and git with every fault, in about 40 minutes; `make test` has a part
	@$(BIN)/python -u -c "$$ENSURE_SERVER" >&2
	@FAULT_MATRIX=all $(BIN)/python -m pytest -n $(WORKERS) --tb=short --show-capture=no tests/test_fault_matrix.py $(ARGS)

test-engines: setup ## Run real coding engines through the whole spine, installed where they aren't; ARGS="-k aider" to choose
	@$(BIN)/python -u -c "$$ENSURE_SERVER" >&2
	@$(BIN)/python -m pytest -m engines $(ARGS)

check: setup ## Formatting, lint, types, and which room imports which
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy --strict
	@$(BIN)/lint-imports --no-logo

format: setup ## Format, and mend what ruff can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

tried: setup ## Run the command on five projects that it does not know; ARGS="--only humanize" to choose
	@$(BIN)/python -m benchmarks.tried $(ARGS)

bench-review: setup ## Run the review panels on labelled changes and say how good they are; ARGS="--verbose --only clean" to choose
	@$(BIN)/python -m benchmarks.review $(ARGS)

bench-agent: setup ## Compare the built-in agent with the same conversation in a bare loop without Temporal
	@$(BIN)/python -u -c "$$ENSURE_SERVER" >&2
	@$(BIN)/python -m benchmarks.bench_agent $(ARGS)

bench-web: setup ## Time the inbox and the list of runs at 1,000 runs
	@$(BIN)/python -u -c "$$ENSURE_SERVER" >&2
	@$(BIN)/python -m benchmarks.bench_web $(ARGS)

docs: setup ## Make docs/cli.md anew from the commands
	@$(BIN)/python docs/cli_reference.py

lock: setup ## Resolve pyproject.toml anew into requirements.lock, with hashes
	@PATH="$$PATH:.uv/bin" uv pip compile pyproject.toml --extra dev --universal --generate-hashes --no-header --no-annotate --upgrade \
		--quiet --output-file requirements.lock

clean: ## Remove .venv and what tools have left; clones, servers and data stay (see `sdlc config`)
	@rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
