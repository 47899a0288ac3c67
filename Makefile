# Everything that is done with this project by hand or in CI. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
RUN := .venv/bin/python -m

.PHONY: help demo demo-down test test-long check lint unit integration e2e conformance crds reference format docs bench bench-cluster bench-scale clean venv stubs

help: ## this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: stubs ## a Ceph cluster on kind, run by our operator, with PostgreSQL on it; it stays up
	@$(RUN) e2e.demo

demo-down: venv ## remove the demo: kind cluster, loop devices, networks
	@$(RUN) e2e down

test: lint ## every test: lint, types, unit, integration, end to end
	@$(RUN) e2e binaries >/dev/null
	@$(RUN) e2e images node ceph ceph-20 operator agent postgres cassandra-41 cassandra-50 minio snapshot-controller >/dev/null
	@$(RUN) pytest --numprocesses 2 --no-loadscope-reorder --durations 40 e2e tests

test-long: stubs ## random search for histories that break an invariant, other ones each time; and what takes long
	@$(RUN) pytest tests e2e -m 'hypothesis or long' --hypothesis-profile=long --timeout=14400 $(ARGS)

check: lint unit ## what needs no cluster: lint, types, layering, unit tests

lint: stubs ## ruff, mypy, import-linter, generated files up to date
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) mypy
	@.venv/bin/lint-imports --no-logo
	@$(RUN) controller.apis --check
	@diff --recursive --brief manifests/crds charts/rook/files/crds || { echo "run 'make crds'"; exit 1; }
	@$(RUN) tools.reference --check

unit: stubs ## unit tests
	@$(RUN) e2e binaries helm >/dev/null
	@$(RUN) pytest tests/unit

integration: stubs ## tests against a real etcd and kube-apiserver
	@$(RUN) pytest tests/integration

e2e: stubs ## tests on the real kind cluster; a single one: make e2e ARGS='-k postgres'
	@$(RUN) pytest e2e $(ARGS)

conformance: stubs ## Kubernetes' own storage suite on the kind cluster, hours; writes docs/conformance.md; a part: ARGS='--focus subPath'
	@$(RUN) e2e.conformance $(ARGS)

crds: venv ## generate the CustomResourceDefinitions from controller/apis, and the chart's CSI drivers
	@$(RUN) controller.apis --output manifests/crds
	@rm -f charts/rook/files/crds/*.yaml && cp manifests/crds/*.yaml charts/rook/files/crds/
	@$(RUN) tools.drivers

reference: venv ## generate the API reference in docs/reference from the docstrings
	@$(RUN) tools.reference

format: venv ## format the code and sort imports
	@$(RUN) ruff check --fix --select I .
	@$(RUN) ruff format .

bench-cluster: stubs ## measure the demo cluster: seconds to Ready, what users wait for, the operator at rest; ARGS='--help'
	@$(RUN) bench.cluster $(ARGS)

bench: venv ## measure the runtime beside its peers, some hours; a part: make bench ARGS='--quick' (or --help)
	@$(RUN) bench.runtime $(ARGS)

bench-scale: venv ## measure what the operator costs by OSDs and by claims, minutes; a part: ARGS='--only volumes' (or --help)
	@$(RUN) bench.scale $(ARGS)

clean: ## remove what tools left in the checkout; the cache outside it stays
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist ./*.egg-info .venv
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

venv:
	@.ci/venv >/dev/null

stubs: venv
	@$(RUN) controller.agent.node.generate
