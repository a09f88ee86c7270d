# Everything below needs Python >= 3.11 with pip, and make. Nothing needs root.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
DEV := $(VENV)/dev
STUBS := clients/python/src/imsgateway/v1/__init__.py
PROTOS := $(wildcard proto/imsgateway/v1/*.proto)

.DEFAULT_GOAL := help
.PHONY: help demo run test chart check reliability bench docs pictures stubs lock format clean

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/ready: requirements/build.txt pyproject.toml clients/python/pyproject.toml
	@echo "Setting up $(VENV): a minute, once."
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) --no-compile --require-hashes -r requirements/build.txt
	@$(INSTALL) --no-deps --no-build-isolation -e clients/python -e .
	@touch $@

# What the tests and checks need on top: real servers, Helm's engine, linters.
$(DEV): requirements/dev.txt $(VENV)/ready | $(STUBS)
	@echo "Adding what tests need to $(VENV): a minute, once."
	@$(INSTALL) --no-compile --require-hashes -r requirements/dev.txt
	@touch $@

$(STUBS): $(VENV)/ready $(PROTOS) proto/generate.py
	@$(BIN)/python proto/generate.py --out clients/python/src --image build/imsgateway.binpb

stubs: $(STUBS) ## Generate code from proto/

demo: $(STUBS) ## Run one job of each algorithm through gateway and emulator
	$(BIN)/imsgw demo --cases tests/cases

run: $(STUBS) ## Keep a gateway and an emulator up on fixed ports
	$(BIN)/imsgw sandbox --folder build/sandbox

test: $(DEV) ## Run the tests
	$(BIN)/pytest -n 2 --dist worksteal

chart: $(DEV) ## Lint and render the Kubernetes chart, and start what it renders
	$(BIN)/python helm/generate.py --check
	$(BIN)/pytest tests/chart

check: $(DEV) ## Lint, types, contract
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/buf lint build/imsgateway.binpb --config buf.yaml $(PROTOS:proto/%=--path %)
	$(BIN)/python proto/breaking.py
	$(BIN)/hadolint Dockerfile
	$(BIN)/python docs/generate.py --check
	$(BIN)/python helm/generate.py --check
	$(BIN)/python -m helm.dashboards --check

reliability: $(DEV) ## Kill gateways at every step of a submit, race for limits, restart replicas, check the books
	$(BIN)/python -m tests.reliability --kills 300 --output build/reliability.json
	$(BIN)/python -m tests.reliability.races
	$(BIN)/python -m tests.reliability.rolling

bench: $(DEV) ## Measure the gateway against its floor and the official SDK
	$(BIN)/python -m tests.bench
	$(BIN)/python -m tests.bench.tenants
	$(BIN)/python -m tests.bench.telemetry
	$(BIN)/python -m tests.reliability.rates

docs: $(DEV) ## Renew what is generated: tables of the documentation, dashboards
	$(BIN)/python docs/generate.py
	$(BIN)/python helm/generate.py
	$(BIN)/python -m helm.dashboards

pictures: $(DEV) ## Draw the dashboards from their own queries (needs prometheus, chromium)
	$(BIN)/python -m tests.pictures --keep

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --no-emit-package ims-gateway-client \
	--custom-compile-command 'make lock'
GATEWAY := --extra emulator pyproject.toml
lock: $(DEV) ## Renew the hash locks in requirements/
	$(LOCK) $(GATEWAY) --output-file requirements/runtime.txt
	$(LOCK) $(GATEWAY) --group build --constraints requirements/runtime.txt --output-file requirements/build.txt
	$(LOCK) --group image --constraints requirements/build.txt --output-file requirements/image.txt
	$(LOCK) $(GATEWAY) --group dev --constraints requirements/build.txt --output-file requirements/dev.txt

format: $(DEV) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## Remove everything that was built
	rm -rf $(VENV) build dist clients/python/src/imsgateway clients/python/src/buf
