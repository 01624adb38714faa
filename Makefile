# Everything that Antechamber needs on a Debian 12, from nothing: `make run` and `make test`.
# System packages come by apt-get (only when one is missing), Python by pip with hashes, the web parts and CLIs by npm.

PORT ?= 8700
PYTHON := /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test lint setup system providers web clean help
.DEFAULT_GOAL := help

help: ## Say what there is
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*##/:/' | column -t -s:

run: setup ## Set everything up and serve the practice world's dashboard on 127.0.0.1:$(PORT)
	@exec $(BIN)/antechamber demo --port $(PORT)

test: setup $(VENV)/.dev ## Set everything up and pass every test
	@$(BIN)/python -m tests.run

lint: $(VENV)/.dev ## Style, types and floors
	@$(BIN)/python -m tests.run lint

setup: system $(VENV)/.runtime web providers ## Set everything up

system:
	@sh scripts/system-packages

$(VENV)/bin/python: | system
	$(PYTHON) -m venv $(VENV)

# a .venv that another user made would fail half-way with a permission error that names neither
$(VENV)/.runtime: requirements/runtime.txt pyproject.toml | $(VENV)/bin/python
	@sh scripts/venv-owner $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/runtime.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

web: $(VENV)/.runtime
	@$(BIN)/python web/vendor.py

providers: $(VENV)/.runtime
	@$(BIN)/antechamber providers install

clean: ## Remove what was built in this folder (not the data)
	rm -rf $(VENV) src/antechamber/web/static/vendor web/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis
