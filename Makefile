# Every target sets up by itself what it needs: uv, the environment, the local stack's jars.
# Extra arguments are passed on by ARGS, for instance: make demo ARGS=--keep

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

ARGS ?=
ROOTS := schemas producers projections consumers deploy
BIN := .venv/bin

# uv as installed, else one of our own in .tools/ (a bare Debian refuses system-wide pip installs).
UV := $(shell uv --version >/dev/null 2>&1 && echo uv || echo .tools/bin/uv)
ENV := .venv/.synced

# Compiled modules are kept, whatever the shell says: tests start some hundred interpreters, and to compile what one
# imports takes as long as all else it does to start.
unexport PYTHONDONTWRITEBYTECODE

# Downloads trust whom this machine trusts, a company's own authority included.
CERTIFICATES := $(wildcard /etc/ssl/certs/ca-certificates.crt)
ifneq ($(CERTIFICATES),)
export UV_SYSTEM_CERTS ?= 1
export REQUESTS_CA_BUNDLE ?= $(CERTIFICATES)
export NODE_EXTRA_CA_CERTS ?= $(CERTIFICATES)
endif

.PHONY: help demo test test-long test-all test-lowest check bench bench-scale faults health-sim cluster-test screenshots up down clean env jars

help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

demo: env jars ## the whole job on real documents of this machine: emit, project, read back
	@$(BIN)/steptrail demo $(ARGS)

# Processes with a Kafka and an engine of their own, 1 GB each: most tests wait rather than compute. Who is done takes
# over from who has most left.
PROCESSES ?= 3
PYTEST_SPREAD := -n $(PROCESSES) --dist worksteal

test: $(if $(ARGS),env,check) jars ## check, then the tests by which a change is trusted, on a real Kafka; make test ARGS="-k fold" for some
	@$(BIN)/pytest $(PYTEST_SPREAD) --durations=10 $(ARGS)

test-long: env jars ## the tests that take long, and more of each that proves by numbers: what `make test` leaves out
	@STEPTRAIL_TEST_THOROUGH=1 $(BIN)/pytest $(PYTEST_SPREAD) --durations=10 \
	  -m "only_in_test_all or thorough" $(ARGS)

test-all: test-long ## that, the fault matrix and the simulations of health
	@$(BIN)/python tests/faults/run.py --quick
	@$(BIN)/python tests/health_sim/run.py --quick

LOWEST := .venv-lowest
# Not the pictures of terminals, which libraries draw a little differently; nor what interrupts at every instruction.
LOWEST_TESTS := tests/unit/schemas tests/unit/producers tests/unit/projections tests/property/test_codec.py \
  tests/integration/test_emitter.py tests/integration/test_projector.py tests/integration/test_reader.py \
  tests/integration/test_schema_registry.py --ignore tests/unit/producers/test_interruptions.py

test-lowest: env jars ## the unit tests and a few on a real Kafka, on the lowest versions that pyproject.toml allows
	@$(UV) venv --quiet --clear --python $(BIN)/python $(LOWEST)
	@$(UV) pip compile --quiet --python $(LOWEST)/bin/python --resolution lowest-direct --all-extras \
	  pyproject.toml -o $(LOWEST)/lowest.txt
	@$(UV) pip install --quiet --python $(LOWEST)/bin/python --constraint $(LOWEST)/lowest.txt \
	  --editable '.[all]' --group dev
	@$(LOWEST)/bin/pytest $(PYTEST_SPREAD) $(LOWEST_TESTS) $(ARGS)

check: env ## ruff, formatting, mypy, pyright, import directions, schema compatibility
	@$(MAKE) --jobs=2 $(CHECKS)

# The longest first.
CHECKS := check-mypy check-pyright check-ruff check-imports check-schemas
.PHONY: $(CHECKS)

check-mypy:
	$(BIN)/mypy

check-pyright:
	$(BIN)/pyright

check-ruff:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check-imports:
	$(BIN)/lint-imports

check-schemas:
	$(BIN)/python tests/check_schemas.py

bench: env jars ## every figure of the README, one JSON line each (at most 25 minutes)
	@$(BIN)/python tests/bench/run.py $(ARGS)

bench-scale: env jars ## questions, sizes and merges at 10 and 100 million events (half an hour to an hour, 40 GB of disk)
	@$(BIN)/python tests/bench/scale/run.py $(ARGS)

faults: env jars ## inject every fault into real parts and count; make faults ARGS=--full for all of it
	@$(BIN)/python tests/faults/run.py $(or $(ARGS),--quick)

health-sim: env ## what the health rule finds and how often it is wrong, simulated; ARGS=--quick for less
	@nice $(BIN)/python tests/health_sim/run.py $(ARGS)

CLUSTER := docker compose -f deploy/cluster/compose.yaml

cluster-test: env ## needs Docker: two shards of two replicas, three Keepers and a Kafka, and tests/cluster on them
	@$(CLUSTER) up --detach --wait --quiet-pull || { $(CLUSTER) down --volumes; exit 1; }
	@$(BIN)/pytest -p no:cacheprovider -n0 tests/cluster/checks.py $(ARGS) && code=0 || code=$$?; \
	  $(CLUSTER) down --volumes; exit $$code

screenshots: env jars ## the pictures of the pages in docs/images, from the demo's data in a real browser
	@$(BIN)/python tests/docs/screenshots.py

up: env jars ## start the local stack in the background; `make down` stops it
	@$(BIN)/steptrail up --detach $(ARGS)

down: env ## stop the local stack
	@$(BIN)/steptrail down $(ARGS)

clean: ## remove what was built here (the environment, caches); data of the stack stays
	rm -rf .venv .venv-lowest .tools dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find $(ROOTS) tests docs -name __pycache__ -type d -prune -exec rm -rf {} +

# --- what the targets above need -------------------------------------------------------------------

env: $(ENV)

$(ENV): pyproject.toml uv.lock | $(filter .tools/%,$(UV))
	@echo "steptrail: setting up .venv"
	@$(UV) sync --quiet --all-extras --locked
	@touch $@

.tools/bin/uv:
	@echo "steptrail: fetching uv into .tools/"
	@python3 -m venv .tools 2>/dev/null && .tools/bin/pip install --quiet 'uv>=0.8' \
	  || { rm -rf .tools; python3 -m pip install --quiet --target .tools 'uv>=0.8'; } \
	  || { echo "steptrail: needs uv, or python3 with venv or pip (Debian: apt install python3-venv)" >&2; exit 1; }

# Kafka's jars, downloaded once into the user's cache and checked against the committed hashes.
jars: env
	@$(BIN)/python -m steptrail.deploy.stack.fetch
