# make demo: the main job end to end on synthetic voices.   make test: linters, types, tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/requirements.lock
WORKERS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder
# The package as a wheel lays it out, for tools that do not import it: links to this checkout.
LINKED := $(VENV)/linked/layerprobe

.PHONY: setup demo test test-fast lint soak reference docs lock clean

setup: $(STAMP)

# Recreated whenever the lock changes, so that it never contains anything that the lock does not name.
$(STAMP): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "layerprobe needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@echo "Installing the packages of requirements.lock into $(VENV) (about 5 GB with torch; a few minutes)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@cp requirements.lock $@

demo: setup
	@$(BIN)/python cli.py demo

test: lint
	$(PYTEST) -m "not soak"

# What a developer runs after each change: all but the tests of kills, training and whole studies.
test-fast: setup
	$(PYTEST) -m "not soak and not slow"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@mkdir -p $(LINKED)
	@for name in cache embed classify cli.py; do ln -sfn ../../../$$name $(LINKED)/$$name; done
	@ln -sfn ../../../layerprobe.py $(LINKED)/__init__.py
	$(BIN)/mypy
	cd $(VENV)/linked && ../bin/lint-imports --no-logo ../../pyproject.toml

soak: setup
	$(BIN)/python -m pytest -q -s -m soak

# docs/commands.md, from the options of the commands; docs/python.md, from the docstrings.
reference: setup
	$(BIN)/python docs/make_commands.py > docs/commands.md
	$(BIN)/python docs/make_api.py > docs/python.md

# The documentation as a site, in site/, which opens from disk.
docs: reference
	$(BIN)/zensical build --strict --clean

# Needs uv; the lock holds exact versions and hashes, no addresses.
lock:
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
	  --generate-hashes --no-annotate --no-header -q -o requirements.lock

clean:
	rm -rf $(VENV) site .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis demo
