# Two commands matter: `make demo` does the main job on virtual boards, `make test` runs the suite.
# Both set themselves up in .venv; of the machine, nothing but a missing hieroglyph font is installed.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready
BOARDS := amd64 arm64
FAULTS := .fleetctl/faults.md
INSTALLED := tests/contract/test_contract.py tests/contract/test_contract_trust.py tests/property/test_plan_apply.py \
  tests/property/test_shards.py $(addprefix tests/unit/test_,$(addsuffix .py,git_source golden manifest_problems plan \
  preprocess proposal remotes render rollout rollout_shards signing store))

# Thousands of processes are started below: without bytecode, each would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test test-full test-azure test-installed boards lint audit format bench lock docs clean

help: ## say what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY) ## make .venv with the locked dependencies, and find a hieroglyph font

$(READY): pyproject.toml .ci/requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(v != (3, 11) and f"Python 3.11 is needed (TensorFlow 2.15 ends there), this is {v[0]}.{v[1]}: try make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r .ci/requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m fleetctl.models.fonts
	@touch $@

demo: $(READY) ## build a model, roll it out to four virtual boards, watch a bad one be refused
	PATH="$(CURDIR)/$(BIN):$$PATH" docs/demo/run

# Two workers more than CI has processors: for half of its time, a test waits for boards.
test: $(READY) lint ## lint, then the whole suite
	$(BIN)/python -m pytest -n 4 --dist loadgroup

test-full: $(READY) ## the suite with its long matrices, and a table of the faults that were tried
	@rm -f $(FAULTS)
	FLEETCTL_TEST_FULL=1 $(BIN)/python -m pytest -n 2 --dist loadgroup; status=$$?; \
	  [ ! -f $(FAULTS) ] || cat $(FAULTS); exit $$status

test-azure: $(READY) ## the contract suite against a real IoT Hub: FLEETCTL_TEST_AZURE_CONNECTION_STRING says which
	FLEETCTL_TEST_AZURE=1 $(BIN)/python -m pytest -rs -k azure tests/contract/test_contract.py

test-installed: ## what needs neither TensorFlow nor this tree, against the fleetctl that is installed
	python -m pytest -n 2 --dist loadgroup $(INSTALLED)

boards: $(READY) ## make the images and wheels that tests of docker boards need (as root, once)
	$(BIN)/python tests/prepare_boards.py $(BOARDS)

lint: $(READY) ## style, types, insecure calls, playbooks, workflows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=tests $(BIN)/mypy --follow-imports=silent fleetctl benchmarks
	$(BIN)/zizmor --offline --quiet --no-progress .github
	.ci/actionlint/run

audit: $(READY) ## advisories about locked packages; apart from lint, for they come out when nothing here has changed
	$(BIN)/python .ci/audit $(BIN)/pip-audit .ci/requirements.lock .ci/advisories.toml

format: $(READY) ## put the code into the one form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY) ## measure everything against named peers; ONLY="startup plan" measures these
	$(BIN)/python -m benchmarks $(ONLY)

lock: $(READY) ## resolve the dependencies again
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --extra build --extra dashboard --extra docs --extra iothub --extra lab --extra dev \
	  --output-file .ci/requirements.lock pyproject.toml

# Not --quiet: mkdocs then counts no warnings, and is strict about nothing.
docs: $(READY) ## the manual as a site, built strictly into .site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

clean: ## remove everything that was made here
	rm -rf .venv .demo .site dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
