# Everything that Antechamber needs on a Debian 12, from nothing: `make run` and `make test`.
# System packages come by apt-get (only when one is missing), Python by pip with hashes, the web parts and CLIs by npm.

PORT ?= $(or $(ANTECHAMBER_PORT),8700)
PYTHON := /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin

PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check

# `make test` tests the wheel, in an environment of its own; everything else uses the code where it lies
TIERS ?=
WHEEL_VENV := .venv-wheel
EDITABLE = $(VENV)/.editable

# what to measure: letters of scenarios, --quick; `.venv/bin/python -m bench --help` says more
BENCH ?=

# how long to look for races: --steps N, --seed N, sqlite, postgres
SOAK ?=

# for `make chaos`: --kills 500 --seed 7
CHAOS ?=

CLEAN ?=
CLEAN_TIERS ?=
CLEAN_STEPS ?=

.PHONY: run test tested test-clean bench soak chaos lint setup system wheel web providers clean help
.DEFAULT_GOAL := help

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s%s\n", $$1, $$2 }' Makefile

# the tools are looked at by the service itself, which hashes each byte of them
run: system $(VENV)/.runtime $(EDITABLE) web ## Set everything up and serve the practice world's dashboard on 127.0.0.1:8700 (PORT=… for another)
	@exec $(BIN)/antechamber demo --install --port $(PORT)

test: ## Set everything up, build the wheel, install it and pass every test with it (TIERS="unit docs" for some)
	@$(MAKE) --no-print-directory tested VENV=$(WHEEL_VENV) EDITABLE=

tested: system $(VENV)/.dev $(VENV)/.bench wheel
	@sh scripts/system-packages tests/debian-packages.txt
	@$(PIP) --no-index --no-deps --force-reinstall dist/antechamber-*.whl
	@$(BIN)/antechamber providers install
	@TESTED=wheel $(BIN)/python -m tests.run $(TIERS)

test-clean: ## The same on a Debian 12 with nothing on it, as root and as a user (CLEAN="root user" CLEAN_TIERS="unit docs" CLEAN_STEPS="test run")
	@$(PYTHON) -m scripts.clean_room $(CLEAN) --tiers="$(CLEAN_TIERS)" $(if $(CLEAN_STEPS),--steps="$(CLEAN_STEPS)")

bench: setup $(VENV)/.dev $(VENV)/.bench ## Measure it beside its peers, about ten minutes (BENCH="a d" for some, BENCH=--quick for a try)
	@$(BIN)/python -m bench $(BENCH)

soak: setup $(VENV)/.dev ## Look for races for about an hour, 100,000 steps on both databases (SOAK="--steps 5000 --seed 7 postgres")
	@sh scripts/system-packages tests/debian-packages.txt
	@$(BIN)/python -m tests.contract.races.soak $(SOAK)

chaos: setup $(VENV)/.dev ## Kill it two thousand times and look at what is left (CHAOS="--kills 500 --seed 7" for others)
	@sh scripts/system-packages tests/debian-packages.txt
	@$(BIN)/python -m tests.acceptance.crash $(CHAOS)

lint: $(VENV)/.dev ## Style, types and floors
	@$(BIN)/python -m tests.run lint

setup: system $(VENV)/.runtime $(EDITABLE) web providers ## Set everything up

wheel: $(VENV)/.runtime ## Build dist/antechamber-….whl and the pinned requirements that go with it
	@rm -rf dist
	@# what is built from one commit has the same bytes each time
	@export SOURCE_DATE_EPOCH="$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)}" && $(BIN)/python -m hatchling build -t sdist -t wheel
	@cp requirements/runtime.txt dist/requirements.txt

system:
	@sh scripts/system-packages

$(VENV)/bin/python: | system
	$(PYTHON) -m venv $(VENV)

# a .venv that another user made would fail half-way with a permission error that names neither
$(VENV)/.runtime: requirements/runtime.txt | $(VENV)/bin/python
	@sh scripts/venv-owner $(VENV)
	$(PIP) --require-hashes -r requirements/build.txt
	$(PIP) --require-hashes -r requirements/runtime.txt
	@touch $@

$(VENV)/.editable: pyproject.toml $(VENV)/.runtime
	$(PIP) --no-deps --no-build-isolation --no-index --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt tests/browser/npm/package-lock.json scripts/proxies $(VENV)/.runtime $(EDITABLE)
	@sh scripts/proxies
	$(PIP) --require-hashes -r requirements/dev.txt
	cd tests/browser/npm && PATH="$(abspath $(BIN)):$$PATH" npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error
	@touch $@

# the bench's peer has an environment of its own: what it needs is nothing of ours
$(VENV)/.bench: requirements/bench.txt | $(VENV)/bin/python
	$(BIN)/python -m venv $(VENV)/peer
	$(VENV)/peer/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@touch $@

web: $(VENV)/.runtime
	@$(BIN)/python web/vendor.py

providers: $(EDITABLE)
	@$(BIN)/antechamber providers install

clean: ## Remove what was built in this folder (not the data)
	rm -rf $(VENV) $(WHEEL_VENV) dist src/antechamber/web/static/vendor web/node_modules tests/browser/npm/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis
