# TokenLedger. `make` alone lists the targets. Nothing is installed outside the checkout.
#   EXTRAS="ui gx"   optional dependency sets to install beside the base ones
#   PORT=3000        where `make dev` serves the UI
#   DOCS_PORT=8000   where `make docs-serve` serves the documentation
#   DUCKDB=1.5.0     version that `make test-duckdb` tests with
#   ACCEPT=1         with `make golden-lock`: also lock figures that changed
#   SIZE_MB=200      logs of `make bench`;  SIZES=200,1000,4000  those of `make bench-growth`
#   PYTHON=python3   the interpreter that bootstraps uv where uv is missing

.DEFAULT_GOAL := help
SHELL := /bin/bash
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
EXTRAS ?= ui
PORT ?= 3000
DOCS_PORT ?= 8000
DUCKDB ?= 1.5.0
SIZE_MB ?= 200
SIZES ?= 200,1000,4000
UV ?= $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
VENV := $(or $(UV_PROJECT_ENVIRONMENT),.venv)

# the gates of `make ci`
GATES := lint type graph ledger-diff pricing-ci golden-verify sample-ci quality-ci test bench-gate docs

# the lock decides versions, so nothing is resolved and a second run is served from uv's cache without a network
SYNC := $(UV) sync --quiet --frozen --inexact $(addprefix --extra ,$(EXTRAS))
RUN := $(UV) run --no-sync
# one stamp per set of extras, inside the environment, so that deleting the environment forgets them too
space := $(subst ,, )
STAMP := $(VENV)/.synced-$(subst $(space),-,$(strip $(EXTRAS)))
# the compiled readers: uv may hold the build of this checkout for done while its result is gone or is of other sources
BULK := tokenledger_dagster/clients/_bulk
BUILT := $(wildcard $(BULK)*.so)
LOCKED := pyproject.toml setup.py uv.lock $(wildcard tokenledger_dagster/clients/bulk/*) \
  $(if $(BUILT),,$(if $(shell command -v cc gcc clang 2>/dev/null),.uncompiled))
COMPILED := env -u TOKENLEDGER_COMPILED $(RUN) python -c \
  'import sys; from tokenledger_dagster.clients.compiled import bulk; sys.exit(bulk() is None)'
REBUILD := --reinstall-package tokenledger-dagster
UNCOMPILED := logs are read by the slower readers: the compiled ones need a C compiler and the headers of Python \
  (to see what is wrong: $(UV) sync -v --inexact $(REBUILD))
# a new environment gets the fastest Python there is of the version that uv would take; UV_PYTHON decides otherwise
CHOOSE := $(if $(UV_PYTHON)$(wildcard $(VENV)/bin/python),, \
  UV_PYTHON="$$($(UV) run --no-project --quiet --python '>=3.11' python tokenledger_dagster/interpreters.py $(UV))")
# modules are compiled once, even where the environment forbids Python to do it itself (PYTHONDONTWRITEBYTECODE)
BYTECODE := $(RUN) python -m compileall -q tokenledger_dagster assets resources checks
# $(1): the groups beside EXTRAS
define INSTALL
rm -f $(BULK)*.so
@$(CHOOSE) $(SYNC) $(1)
@$(COMPILED) || $(SYNC) $(1) $(REBUILD)
@$(COMPILED) || { rm -f $(BULK)*.so; echo '$(UNCOMPILED)'; }
@$(BYTECODE)
endef
# a uv of the user's own is used as it is; ours is built when it is the one to use
BOOTSTRAP := $(filter .uv/bin/uv,$(UV))

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: setup setup-dev setup-inference
setup: $(STAMP) ## install what running needs (quick when nothing changed)

setup-dev: $(STAMP)-dev ## the same with the tools for tests, lint and types

setup-inference: ## the same with what embeddings need; then `uv run tokenledger models build`
	@$(MAKE) setup EXTRAS="$(sort $(EXTRAS) inference coreml)"

.PHONY: run
run: setup ## read your agents' logs (or the sample), print a report, say what was made
	@$(RUN) tokenledger quickstart

.PHONY: test test-slow
test: setup-dev ## run the tests but the slow ones
	@$(RUN) pytest -m "not slow" -n auto --dist worksteal

test-slow: setup-dev ## run the slow tests (process kills, large corpora, feeders end to end)
	@$(RUN) pytest -m slow

.PHONY: test-duckdb
test-duckdb: setup-dev ## run the tests but the slow ones with DUCKDB instead of the locked one
	@$(RUN) --with 'duckdb==$(DUCKDB)' pytest -m "not slow" -n auto --dist worksteal

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

.PHONY: ledger ledger-diff pareto
ledger: setup ## make ledger/ and docs/images/pareto.svg anew from config/
	@$(RUN) tokenledger ledger build
	@$(RUN) tokenledger ledger pareto --committed --svg docs/images/pareto.svg

ledger-diff: setup ## compare ledger/ with what config/ gives; fails, with a diff, where they differ
	@$(RUN) tokenledger ledger diff

pareto: setup ## print which models nobody beats, of the committed ledger
	@$(RUN) tokenledger ledger pareto --committed

.PHONY: orchestrate orchestrate-ui refresh-ledger reconcile inference do-all-next
orchestrate orchestrate-ui refresh-ledger reconcile inference do-all-next: setup
	@$(RUN) tokenledger orchestrate --job $(subst -,_,$@)

orchestrate: ## read your logs, build and check every table, publish
orchestrate-ui: ## read your logs and publish the UI snapshot alone
refresh-ledger: ## the stage of the unified ledger alone, with its checks
reconcile: ## hold prices against usage
inference: ## estimates by embeddings of the tables as they are, or how they are turned on
do-all-next: ## everything there is, and all that it publishes in one file

.PHONY: retention
retention: setup ## tell what your home no longer needs; APPLY=1 removes it
	@$(RUN) tokenledger retention $(if $(APPLY),--apply)

.PHONY: ci pricing-ci sample-ci graph inference-ci
ci: ## every gate, in the order of what fails fastest
	@for gate in $(GATES); do \
	  printf '\n== %s\n' $$gate; \
	  $(MAKE) $$gate || { echo "make ci: $$gate failed" >&2; exit 1; }; \
	done

pricing-ci: setup ## gate: everything that the sample used has a price, by a book that somebody looked at
	@$(RUN) .ci/on_sample --book fixtures/gate/pricing.json tokenledger orchestrate --job pricing_ci

sample-ci: setup ## gate: the whole pipeline on the sample, every check
	@$(RUN) .ci/on_sample tokenledger orchestrate --job do_all_next

# beside the gates of `make ci`: it downloads the weights
inference-ci: setup-inference ## build the embedding model in a home of its own, and verify every backend of this machine
	@home="$$(mktemp -d)" && trap 'rm -rf "$$home"' EXIT && export TOKENLEDGER_HOME="$$home" && \
	  $(RUN) tokenledger models build && $(RUN) tokenledger models verify

graph: setup-dev ## gate: the asset graph is the committed one
	@$(RUN) pytest -q tests/dagster/test_graph.py

.PHONY: golden-lock golden-verify
golden-lock: setup ## lock the figures of the sample; ACCEPT=1 where locked ones change on purpose
	@$(RUN) tokenledger bench golden lock $(if $(ACCEPT),--accept)

golden-verify: setup ## gate: the sample gives the locked figures, to the token and the nano-USD
	@$(RUN) tokenledger bench golden verify

.PHONY: bench bench-growth bench-chart bench-profile bench-clients bench-gate bench-trend
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

bench-gate: setup ## gate: not slower than config/perf_baseline.json, as ratios to a reference
	@$(RUN) tokenledger bench gate

bench-trend: setup ## compare the last bench of your home with those before it
	@$(RUN) tokenledger bench trend

.PHONY: docs docs-serve
# the theme's advertisement of its successor is no warning of ours
docs: $(STAMP)-docs ## build the documentation as a site, into build/site
	@NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs build --quiet --strict -f config/mkdocs.yml

docs-serve: $(STAMP)-docs ## show it while you write, on DOCS_PORT
	@NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs serve --strict -f config/mkdocs.yml -a localhost:$(DOCS_PORT)

.PHONY: quality quality-ci quality-sample
quality: setup ## recompute what your home publishes, and hold it against what is expected; EXTRAS="ui gx" for all of it
	@$(RUN) tokenledger quality

quality-ci: ## gate: what is published of the sample is what its events sum to, and looks as expected
	@$(MAKE) quality-sample EXTRAS="ui gx"

quality-sample: setup ## the same with what is installed
	@$(RUN) .ci/on_sample sh -c 'tokenledger orchestrate >/dev/null 2>&1 && tokenledger quality'

.PHONY: clean
clean: ## remove the environment, caches and Dagster's history (never a ledger)
	rm -rf $(VENV) .uv .dagster .tmp_dagster_home_* .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	rm -rf *.egg-info $(BULK)*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# no such file is ever made: what depends on it is made again as long as a compiler is there and its result is not
.uncompiled:

$(STAMP): $(LOCKED) | $(BOOTSTRAP)
	@$(call INSTALL,--no-dev)
	@touch $@

$(STAMP)-dev: $(LOCKED) | $(BOOTSTRAP)
	@$(call INSTALL,--group dev)
	@touch $@ $(STAMP)

$(STAMP)-docs: $(LOCKED) | $(BOOTSTRAP)
	@$(UV) sync --quiet --frozen --inexact --only-group docs
	@touch $@

# only where no uv is on the PATH
.uv/bin/uv:
	@echo "uv is not on the PATH: installing it into .uv/" >&2
	@$(PYTHON) -m venv .uv
	@.uv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.8,<1'
