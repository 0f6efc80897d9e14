# The one entrance. `make` without a target shows what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SERVICES := .venv-services
WORKERS ?= 2
# Progress goes to standard error: the rows of `make -s bench-NAME` own standard output.
SAY := >&2 printf '%s\n'
# Independent JavaScript clients of the wire tests, and the decoder of OHIF; xhr2 stands in for what
# a browser has.
NPM_CLIENTS := dcmjs-dimse@0.3.3 dicomweb-client@0.11.3 xhr2@0.2.1 @cornerstonejs/codec-openjph@2.4.11
PIP := -m pip --disable-pip-version-check install -qq --progress-bar off

.PHONY: help
help: ## Show this list
	@sed -nE 's/^([a-z%-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | \
		while IFS=$$'\t' read -r name text; do printf '  make %-14s %s\n' "$$name" "$$text"; done

## --- for everyone -------------------------------------------------------------------------------

.PHONY: setup
setup: $(VENV)/.base $(VENV)/.web ## Set up what the engine needs to run (make run does it by itself)

.PHONY: run
run: setup ## Start node, web and relay in ./var, run a real study through, serve until Ctrl-C
	@exec $(BIN)/telerad up --data var --demo

.PHONY: demo
demo: setup ## Do the main job once in a scratch folder and show each stage
	@$(BIN)/telerad demo

## --- for those who change it --------------------------------------------------------------------

.PHONY: setup-dev
setup-dev: $(VENV)/.dev $(VENV)/.web $(SERVICES)/.done $(SERVICES)/.npm test-packages ## Set up what the tests and checks need, system packages included

.PHONY: test-packages
test-packages: ## Install the system packages that the tests use (Debian and Ubuntu, as root)
	@tools/system_packages.sh tools/packages/test.txt

.PHONY: test
test: setup-dev ## Run all tests, with the real servers they need
	@$(SAY) "tests: $(WORKERS) at a time"
	@$(BIN)/pytest -n $(WORKERS) --dist loadfile $(ARGS)

.PHONY: check
check: $(VENV)/.dev ## Check style, types, import contracts and the rules of the house
	@$(SAY) "check: ruff"
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { $(SAY) "run: $(BIN)/ruff format ."; exit 1; }
	@$(SAY) "check: mypy"
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/mypy --no-error-summary tools hatch_build.py
	@$(SAY) "check: import contracts"
	@out=$$($(BIN)/lint-imports --no-logo) || { printf '%s\n' "$$out"; exit 1; }
	@$(SAY) "check: rules of the house"
	@$(BIN)/python -m tools.lint_house
	@$(SAY) "check: all passed"

.PHONY: format
format: $(VENV)/.dev ## Bring all files into the style of the house
	@$(BIN)/ruff check --quiet --fix . || true
	@$(BIN)/ruff format --quiet .

.PHONY: bench
bench: setup-dev ## Measure everything and write docs/bench.md
	@$(BIN)/python -m bench

bench-%: setup-dev ## Measure one thing; one JSON line a row
	@$(BIN)/python -m bench $*

.PHONY: fuzz
fuzz: setup-dev ## Fuzz a reader of strangers' bytes: make fuzz TARGET=file TIME=600
	@$(BIN)/python -W ignore -m tests.fuzz.run $(or $(TARGET),file) -max_total_time=$(or $(TIME),300)

.PHONY: train
train: $(VENV)/.dev ## Train the film quality model: make train DATA=FOLDER
	@test -n "$(DATA)" || { echo "name the folder with films and labels.csv: make train DATA=FOLDER" >&2; exit 2; }
	@$(BIN)/telerad train cxr-qc --data "$(DATA)"

.PHONY: build
build: $(VENV)/.dev ## Build a wheel into dist/
	@$(BIN)/python -m pip --disable-pip-version-check wheel -q --no-deps -w dist .

.PHONY: clean
clean: ## Remove what can be made again; ./var stays
	@rm -rf $(VENV) $(SERVICES) build dist app/web/static .pytest_cache .mypy_cache .ruff_cache \
		.import_linter_cache .hypothesis

## --- how the environments are made --------------------------------------------------------------

define make_environment
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11" >&2; exit 1; }; \
	if ! $(PYTHON) -m venv $(1) >/dev/null 2>&1; then \
		rm -rf $(1); \
		tools/system_packages.sh <(echo python3-venv); \
		$(PYTHON) -m venv $(1); \
	fi
endef

$(BIN)/python:
	@$(call make_environment,$(VENV))

$(SERVICES)/bin/python:
	@$(call make_environment,$(SERVICES))

$(VENV)/.base: pyproject.toml hatch_build.py constraints.txt | $(BIN)/python
	@$(SAY) "setup: Python packages (a minute or two the first time)"
	@$(BIN)/python $(PIP) -c constraints.txt -e .
	@touch $@

# The pin names the CPU build of torch; where that is not at hand, any torch that fits will do.
$(VENV)/.dev: $(VENV)/.base
	@$(SAY) "setup: Python packages for tests, checks and training (some minutes the first time)"
	@$(BIN)/python $(PIP) -c constraints.txt -e '.[dev]' || \
		{ $(SAY) "setup: once more without the pins of constraints.txt"; $(BIN)/python $(PIP) -e '.[dev]'; }
	@touch $@

$(VENV)/.web: tools/web_assets.json tools/fetch_web_assets.py | $(BIN)/python
	@command -v npm >/dev/null || tools/system_packages.sh tools/packages/fetch.txt
	@$(BIN)/python tools/fetch_web_assets.py && touch $@ || true

$(SERVICES)/.done: constraints-services.txt | $(SERVICES)/bin/python
	@$(SAY) "setup: OpenStack Swift and a FHIR server for the tests, in $(SERVICES)"
	@$(SERVICES)/bin/python $(PIP) -c constraints-services.txt swift sekmet-fhir dicom-echo || \
		{ $(SAY) "setup: they could not be installed; the tests that need them will say so"; exit 0; } && touch $@

$(SERVICES)/.npm: Makefile | $(SERVICES)/bin/python
	@command -v npm >/dev/null || tools/system_packages.sh tools/packages/fetch.txt
	@$(SAY) "setup: JavaScript clients for the tests, in $(SERVICES)/npm"
	@npm install --prefix $(SERVICES)/npm --no-audit --no-fund --ignore-scripts --silent $(NPM_CLIENTS) || \
		{ $(SAY) "setup: they could not be installed; the tests that need them will say so"; exit 0; } && touch $@
