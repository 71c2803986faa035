# TokenLedger. `make` alone lists the targets. Nothing is installed outside the checkout.
#   EXTRAS="ui gx"   optional dependency sets to install beside the base ones
#   PORT=3000        where `make dev` serves the UI
#   SIZE_MB=200      logs of `make bench`;  SIZES=200,1000,4000  those of `make bench-growth`
#   PYTHON=python3   the interpreter that bootstraps uv where uv is missing

.DEFAULT_GOAL := help
SHELL := /bin/bash
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
EXTRAS ?= ui
PORT ?= 3000
SIZE_MB ?= 200
SIZES ?= 200,1000,4000
UV ?= $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
VENV := $(or $(UV_PROJECT_ENVIRONMENT),.venv)

# the lock decides versions, so nothing is resolved and a second run is served from uv's cache without a network
SYNC := $(UV) sync --quiet --frozen --inexact $(addprefix --extra ,$(EXTRAS))
RUN := $(UV) run --no-sync
# one stamp per set of extras, inside the environment, so that deleting the environment forgets them too
space := $(subst ,, )
STAMP := $(VENV)/.synced-$(subst $(space),-,$(strip $(EXTRAS)))
LOCKED := pyproject.toml uv.lock
# a uv of the user's own is used as it is; ours is built when it is the one to use
BOOTSTRAP := $(filter .uv/bin/uv,$(UV))

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: setup setup-dev
setup: $(STAMP) ## install what running needs (quick when nothing changed)

setup-dev: $(STAMP)-dev ## the same with the tools for tests, lint and types

.PHONY: run
run: setup ## read your agents' logs (or the sample), print a report, say what was made
	@$(RUN) tokenledger quickstart

.PHONY: test test-slow
test: setup-dev ## run the tests but the slow ones
	@$(RUN) pytest -m "not slow" -n auto --dist worksteal

test-slow: setup-dev ## run the slow tests (process kills, large corpora, feeders end to end)
	@$(RUN) pytest -m slow

.PHONY: feeders
feeders: setup-dev ## run each feeder end to end: land, validate, sync, orchestrate, summaries
	@$(RUN) pytest tests/feeders tests/landing -m "slow or not slow"

.PHONY: lint format type
lint: setup-dev ## check style, formatting and that uv.lock fits pyproject.toml
	@$(RUN) ruff check
	@$(RUN) ruff format --check
	@$(UV) lock --quiet --check --offline

format: setup-dev ## format the code and fix what can be fixed
	@$(RUN) ruff check --fix
	@$(RUN) ruff format

type: setup-dev ## check types
	@$(RUN) mypy

.PHONY: dev
dev: setup ## serve the Dagster UI on PORT with this checkout's dagster.yaml
	@env -u DAGSTER_HOME DAGSTER_DISABLE_TELEMETRY=1 $(RUN) dagster dev --port $(PORT)

.PHONY: ledger ledger-diff ledger-refresh pareto
ledger: setup ## make ledger/ and docs/images/pareto.svg anew from config/
	@$(RUN) tokenledger ledger build
	@$(RUN) tokenledger ledger pareto --committed --svg docs/images/pareto.svg

ledger-diff: setup ## compare ledger/ with what config/ gives; fails, with a diff, where they differ
	@$(RUN) tokenledger ledger diff

ledger-refresh: setup ## make the ledger of your home: your prices, models, usage mix and latencies
	@$(RUN) tokenledger ledger refresh --allow-missing-snapshot

pareto: setup ## print which models nobody beats, of the committed ledger
	@$(RUN) tokenledger ledger pareto --committed

.PHONY: bench bench-growth bench-chart bench-profile bench-clients
bench: setup ## measure all scenarios on SIZE_MB of made-up logs
	@$(RUN) tokenledger bench run --size-mb $(SIZE_MB)

bench-growth: setup ## measure SIZES, kept in docs/performance/growth.json
	@$(RUN) tokenledger bench growth --sizes $(SIZES) --out docs/performance/growth.json

bench-chart: setup ## draw docs/images/growth.svg from the kept sizes
	@$(RUN) tokenledger bench chart --from docs/performance/growth.json --out docs/images/growth.svg

bench-profile: setup ## profile SIZE_MB, kept in docs/performance/profile.json
	@$(RUN) tokenledger bench profile --size-mb $(SIZE_MB) --out docs/performance/profile.json

bench-clients: setup ## measure every client's fixtures many times over, kept in docs/performance/clients.json
	@$(RUN) tokenledger bench clients --out docs/performance/clients.json

.PHONY: clean
clean: ## remove the environment, caches and Dagster's history (never a ledger)
	rm -rf $(VENV) .uv .dagster .tmp_dagster_home_* .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): $(LOCKED) | $(BOOTSTRAP)
	@$(SYNC) --no-dev
	@touch $@

$(STAMP)-dev: $(LOCKED) | $(BOOTSTRAP)
	@$(SYNC) --group dev
	@touch $@ $(STAMP)

# only where no uv is on the PATH
.uv/bin/uv:
	@echo "uv is not on the PATH: installing it into .uv/" >&2
	@$(PYTHON) -m venv .uv
	@.uv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.8,<1'
