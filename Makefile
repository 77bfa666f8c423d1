# Two commands: `make demo` runs the line on the embedded market, `make test` checks everything. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Test files run side by side, one worker a core, four at most; WORKERS=0 runs all in one process.
WORKERS ?= $(shell $(PYTHON) -c "import os; print(min(4, os.cpu_count() or 1))")
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

# Where recorded candles are looked for (experiments/recorded.yaml names the same folder), and the experiment that `make recorded` runs.
RECORDED := ../shared/data
CANDLES := $(if $(and $(wildcard $(RECORDED)/bybit_1h/*),$(wildcard $(RECORDED)/yahoo_1h/*)),recorded,sample)

.DEFAULT_GOAL := demo
.PHONY: help demo recorded which_candles minute daily ui test lint format types imports suite slow room docs hooks clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(STAMP) ## run the whole graph on the embedded market
	$(BIN)/crossattn run --experiment experiments/demo.yaml

recorded: which_candles $(STAMP) ## run it on recorded candles, or on the simulated files of experiments/sample_candles
	CROSSATTN_HOME=.crossattn-$(CANDLES) $(BIN)/crossattn run --experiment experiments/$(CANDLES).yaml

which_candles:
	@$(if $(filter recorded,$(CANDLES)),echo "Recorded candles of $(RECORDED) (experiments/recorded.yaml).",\
	echo "No recorded candles: put bybit_1h/<SYMBOL>.parquet and yahoo_1h/<SYMBOL>.parquet (.csv works too) into $(RECORDED), as docs/candles.md has it;\
	until then on simulated files (experiments/sample.yaml).")

minute: $(STAMP) ## run it on recorded minutes (experiments/minute.yaml)
	CROSSATTN_HOME=.crossattn-minute $(BIN)/crossattn run --experiment experiments/minute.yaml

daily: $(STAMP) ## run it on recorded days of 46 stocks (experiments/daily.yaml)
	CROSSATTN_HOME=.crossattn-daily $(BIN)/crossattn run --experiment experiments/daily.yaml

ui: $(STAMP) ## the web UI over the home of the demo
	$(BIN)/crossattn ui

test: lint types imports suite ## everything that must be green: lint, types, imports, suite

lint: $(STAMP) ## ruff and sqlfluff, changing nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/sqlfluff lint --nocolor --disable-progress-bar dbt_like_sql

format: $(STAMP) ## let ruff and sqlfluff rewrite what they can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/sqlfluff fix --nocolor --disable-progress-bar dbt_like_sql

types: $(STAMP) ## basedpyright
	$(BIN)/basedpyright

imports: $(STAMP) ## who may import whom
	$(BIN)/lint-imports

suite: $(STAMP) ## the tests, but for the long ones
	$(PYTEST)

slow: $(STAMP) ## the long tests
	$(PYTEST) -m slow

room: $(STAMP) ## one room's lint, types, doctests and tests: make room ROOM=model
	@test -d "crossattn_core/$(ROOM)" -a -n "$(ROOM)" || { echo "ROOM is a folder of crossattn_core: make room ROOM=model" >&2; exit 2; }
	$(BIN)/ruff check crossattn_core/$(ROOM) $(wildcard tests/$(ROOM))
	$(BIN)/ruff format --check crossattn_core/$(ROOM) $(wildcard tests/$(ROOM))
	$(BIN)/basedpyright crossattn_core/$(ROOM)
	$(BIN)/python -m pytest crossattn_core/$(ROOM) $(wildcard tests/$(ROOM))

docs: $(STAMP) ## the documentation as a site: site/index.html
	$(BIN)/mkdocs build --strict --quiet

hooks: $(STAMP) ## let git run the linters before each commit
	$(BIN)/pre-commit install

# One environment for everything, from the pinned lock. The packages live in the stamp's folder, so an
# interrupted install is redone and a changed lock or pyproject rebuilds.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else 'Python 3.11 to 3.13 is needed, this is ' + sys.version.split()[0] + '; set PYTHON=python3.11 or the like')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $(STAMP)

clean: ## remove the environment; homes stay
	rm -rf $(VENV) build *.egg-info
