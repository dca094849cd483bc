# `make help` lists what there is. Every target that needs the virtual environment brings it up to date first, which
# takes a fraction of a second when it is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

export PATH := $(CURDIR)/.venv/bin:$(PATH)

# Container images set it often. Then every start of the command compiles the whole of it anew, hundreds of times in the
# tests.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
PYTHON := $(BIN)/python
# Tests wait, for the disk and for what they start: one worker more than processors.
WORKERS ?= 3
# Tests on API servers: each worker has a seed and a shoot of its own.
CLUSTER_WORKERS ?= 2
# Which tests a worker takes together, and which first, is said in tests/conftest.py.
BY_PIECE := --dist loadscope --no-loadscope-reorder --durations=20
PYTHON_SCRIPTS = $(shell grep -lE '^\#!/usr/bin/env python3' scripts/*)

# Coverage is taken of every Python process, also of those that a test starts: ansible-playbook and its workers, the CRI
# client, the command line. Each finds these variables and writes a file of its own.
COVERAGE_DIRECTORY := $(CURDIR)/.cache/coverage
MEASURED := COVERAGE_PROCESS_START=$(CURDIR)/pyproject.toml COVERAGE_FILE=$(COVERAGE_DIRECTORY)/data
COVERAGE_MINIMUM ?= 90

# What mypy knows of each module, by its content: for all checkouts of this user.
TYPES_CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/gvisor-nodes/mypy

# ansible-lint reads roles one by one, without inventory and without the role that holds everybody's modules. In this
# variable `localhost,` would be two paths, of which the second is this directory, with every script in it as a source.
LINTED := ANSIBLE_INVENTORY=$(CURDIR)/inventories/local.yml \
	ANSIBLE_LIBRARY=$(CURDIR)/roles/node/library ANSIBLE_ACTION_PLUGINS=$(CURDIR)/roles/node/action_plugins

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Make .venv and install missing system packages (the other targets do it)
	@scripts/setup

.PHONY: demo
demo: setup ## Two nodes: gVisor installed, proved, applied again, removed; the tree compared
	@$(PYTHON) scripts/demo

.PHONY: demo-cluster
demo-cluster: control-plane ## A cluster with real kubelets: from the object to pods in gVisor and back; MODE=gardener
	@$(PYTHON) scripts/demo-cluster --mode $(or $(MODE),standalone)

.PHONY: start
start: setup ## Run the controller on KUBECONFIG, else on `gvisor-nodes lab cluster up`; MODE=standalone, ARGS=...
	@MODE=$(MODE) scripts/start $(ARGS)

.PHONY: check
check: setup ## Formatting, lint, types, imports, playbooks, shell, generated references
	@mkdir -p .cache
	@$(MAKE) --jobs=2 --output-sync=target --keep-going check-python check-types check-imports check-ansible check-yaml check-shell check-generated
	@echo "check: everything is as it should be"

.PHONY: check-python check-types check-imports check-ansible check-yaml check-shell check-generated
check-ansible:
	@$(LINTED) $(BIN)/ansible-lint -q --nocolor
check-types:
	@$(BIN)/mypy --cache-dir $(TYPES_CACHE) --no-error-summary --scripts-are-modules orchestrator $(PYTHON_SCRIPTS)
check-python:
	@$(BIN)/ruff check --quiet . $(PYTHON_SCRIPTS)
	@$(BIN)/ruff format --quiet --check . $(PYTHON_SCRIPTS) || { $(BIN)/ruff format --check . $(PYTHON_SCRIPTS); exit 1; }
check-imports:
	@$(BIN)/lint-imports --no-logo > .cache/import-linter.txt || { cat .cache/import-linter.txt; exit 1; }
check-yaml:
	@$(BIN)/yamllint --strict .
check-shell:
	@$(PYTHON) scripts/check-shell
check-generated:
	@$(PYTHON) scripts/generate-cri --check
	@$(PYTHON) scripts/generate-cli-reference --check
	@$(PYTHON) scripts/generate-controller-docs --check
	@$(PYTHON) scripts/generate-role-docs --check
	@$(PYTHON) scripts/generate-flags --check
	@$(PYTHON) scripts/generate-features --check
	@$(PYTHON) scripts/generate-conformance --check
	@$(PYTHON) scripts/generate-chart-docs --check

.PHONY: test
test: setup ## Unit tests, tests on real nodes, on real API servers, on a whole cluster, Molecule
	@$(MAKE) --old-file=setup --jobs=2 --output-sync=target unit molecule
	@$(MAKE) --old-file=setup integration

.PHONY: measured
measured: setup ## The same with the coverage of every process
	@rm -rf $(COVERAGE_DIRECTORY) && mkdir -p $(COVERAGE_DIRECTORY)
	@$(MAKE) --old-file=setup unit integration molecule MEASURED_BY="$(MEASURED)"
	@$(MAKE) --old-file=setup coverage

.PHONY: unit
unit: setup ## Only the unit tests
	@$(MEASURED_BY) $(PYTHON) -m pytest tests/unit -q -n $(WORKERS) $(BY_PIECE) -m "not node"

.PHONY: integration
integration: control-plane ## Only the tests on real nodes, API servers and clusters: nodes, cluster and e2e
	@folders=(tests/nodes tests/cluster tests/contract tests/e2e); \
	test="$(PYTHON) -m pytest -q $(BY_PIECE)"; \
	if scripts/allow-inotify 1024; \
	then $(MEASURED_BY) $$test -n $(WORKERS) -m "not exhaustive" "$${folders[@]}"; \
	else for one in "$${folders[@]}"; do $(MEASURED_BY) $$test -n $(CLUSTER_WORKERS) -m "not exhaustive" "$$one"; done; fi

.PHONY: nodes
nodes: setup ## Only the tests on real nodes
	@$(MEASURED_BY) $(PYTHON) -m pytest tests/nodes -q -n $(WORKERS) $(BY_PIECE) -m "not exhaustive"

.PHONY: exhaustive
exhaustive: setup ## The rest of the tests: every kill, every pair of releases, every kind of node: some two hours
	@$(PYTHON) -m pytest tests/unit -q -m hypothesis --hypothesis-profile=exhaustive -n $(WORKERS)
	@$(PYTHON) -m pytest tests/nodes tests/cluster tests/contract -q -m exhaustive

.PHONY: control-plane
control-plane: setup ## Build etcd, Helm, Kubernetes' and Gardener's parts for tests on real API servers, once
	@$(PYTHON) scripts/build-control-plane

.PHONY: cluster
cluster: control-plane ## Only the tests on a real API server, and on nodes with real kubelets
	@$(MEASURED_BY) $(PYTHON) -m pytest tests/cluster tests/contract -q -n $(CLUSTER_WORKERS) $(BY_PIECE) -m "not exhaustive"

.PHONY: e2e
e2e: control-plane ## Only the tests on a cluster with real kubelets
	@$(MEASURED_BY) $(PYTHON) -m pytest tests/e2e -q

.PHONY: contract
contract: control-plane ## Only the cases of docs/conformance.md, on real API servers
	@$(MEASURED_BY) $(PYTHON) -m pytest tests/contract -q -n $(CLUSTER_WORKERS) $(BY_PIECE) -m "not exhaustive"

.PHONY: chart
chart: setup ## Package the chart, alone and in a registration for Gardener: dist/*.tgz and dist/controller-registration.yaml
	@$(PYTHON) scripts/package-chart

.PHONY: bench
bench: control-plane ## What the controller takes of time, requests and memory: some three minutes; ARGS=--large for 2000
	@$(PYTHON) tests/bench/controller.py $(ARGS)

.PHONY: image
image: setup ## Build the image of the controller and its Jobs; ARGS="--base IMAGE --release 20260905.0 --output dist"
	@$(PYTHON) scripts/build-image $(ARGS)

.PHONY: bench-nodes
bench-nodes: control-plane ## How soon a node gets its Job, among 1000 that need nothing: some two minutes
	@$(PYTHON) tests/bench/nodes.py $(ARGS)

.PHONY: bench-proved
bench-proved: control-plane ## From a node that joins a pool to the proof on it by a Job: some three minutes
	@$(PYTHON) tests/bench/node_proved.py $(ARGS)

.PHONY: molecule
molecule: setup ## Only the Molecule scenario: create, converge, idempotence, verify, destroy
	@MOLECULE_EPHEMERAL_DIRECTORY=$(CURDIR)/.cache/molecule $(MEASURED_BY) $(BIN)/molecule test

.PHONY: coverage
coverage:
	@COVERAGE_FILE=$(COVERAGE_DIRECTORY)/data $(BIN)/coverage combine --quiet $(COVERAGE_DIRECTORY)
	@COVERAGE_FILE=$(COVERAGE_DIRECTORY)/data $(BIN)/coverage report --fail-under=$(COVERAGE_MINIMUM)

.PHONY: verify
verify: check test ## Both: check and test

.PHONY: clean
clean: ## Remove every lab, cluster, node image and cache that this project made, and .venv; nothing else
	@if [ -x $(BIN)/gvisor-nodes ]; then $(BIN)/gvisor-nodes lab clean; fi
	@rm -rf $(TYPES_CACHE) .venv .cache .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .ansible build dist
	@find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
