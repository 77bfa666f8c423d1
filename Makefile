# Two commands: `make demo` runs the line on the embedded market, `make test` checks everything.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo recorded test lint types imports suite slow ui clean

demo: $(STAMP)
	$(BIN)/crossattn run --experiment experiments/demo.yaml

recorded: $(STAMP)
	CROSSATTN_HOME=.crossattn-recorded $(BIN)/crossattn run --experiment experiments/recorded.yaml

ui: $(STAMP)
	$(BIN)/crossattn ui

test: lint types imports suite

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/basedpyright

imports: $(STAMP)
	$(BIN)/lint-imports

suite: $(STAMP)
	$(BIN)/python -m pytest

slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

# One environment for everything, from the pinned lock. The packages live in the stamp's folder, so an
# interrupted install is redone and a changed lock or pyproject rebuilds.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else 'Python 3.11 to 3.13 is needed, this is ' + sys.version.split()[0] + '; set PYTHON=python3.11 or the like')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $(STAMP)

clean:
	rm -rf $(VENV) build *.egg-info
