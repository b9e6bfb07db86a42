# `make demo` and `make test` set themselves up; a second call starts at once.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SOURCES := setup.cfg pyproject.toml constraints.txt

.PHONY: help demo quick test torture check format schema lock clean

help:
	@echo "make demo    run the quickstart scenario and show what it did"
	@echo "make quick   run the tests that are not marked slow"
	@echo "make test    run all tests: ten minutes on two cores"
	@echo "make torture run the beds of faults and bad input, an hour or more: results/reliability.md"
	@echo "make check   run ruff and mypy"
	@echo "make format  let ruff format and sort"
	@echo "make schema  write scenarios/*.schema.json"
	@echo "make lock    write constraints.txt from a clean environment"
	@echo "make clean   delete the environment and all caches"

$(VENV)/.base: $(SOURCES)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "netsim needs Python 3.11 or later: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -q -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	$(PIP) install -q -c constraints.txt -e '.[test,dev]'
	@touch $@

demo: $(VENV)/.base
	$(BIN)/netsim run quickstart

# a file stays with one process, which shares what its tests share; long files go first
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder
quick: $(VENV)/.dev
	$(PYTEST) -m "not slow"

test: $(VENV)/.dev
	$(PYTEST)

# each bed writes a table; KILLS, CASES and so on make it shorter
TORTURED := $(VENV)/torture
BED = $(BIN)/python -m tests.torture.
CASES ?= 10000
FILES ?= 2000
ROT ?= 1000
SWARM ?= 5000
KILLS ?= 200
SIGNALS ?= 36
TIMES ?= 4
EVERY ?= 3
SPOKEN := --only "network-only synchronous" "network-only asynchronous" study
torture: $(VENV)/.dev
	$(BED)bad_input --cases $(CASES) --out $(TORTURED)/bad-input
	$(BED)data_files --cases $(FILES) --out $(TORTURED)/data-files
	$(BED)extremes --out $(TORTURED)/extremes
	$(BED)bit_rot --cases $(ROT) --out $(TORTURED)/bit-rot
	$(BED)hostile --out $(TORTURED)/hostile
	$(BED)independent --out $(TORTURED)/independent
	$(BED)swarm --cases $(SWARM) --out $(TORTURED)/swarm
	$(BED)metamorphic --out $(TORTURED)/metamorphic
	$(BED)simulation --out $(TORTURED)/simulation
	$(BED)hosts --out $(TORTURED)/hosts
	$(BED)crash --kills $(KILLS) --out $(TORTURED)/crash
	$(BED)crash --kills $(SIGNALS) --signal SIGTERM $(SPOKEN) --out $(TORTURED)/sigterm
	$(BED)crash --kills $(SIGNALS) --signal SIGINT $(SPOKEN) --out $(TORTURED)/sigint
	$(BED)worker_faults --times $(TIMES) --out $(TORTURED)/workers
	$(BED)disk --out $(TORTURED)/disk
	$(BED)operations --every $(EVERY) --out $(TORTURED)/operations
	$(BED)determinism --out $(TORTURED)/determinism
	$(BED)supply --ends --out $(TORTURED)/supply
	$(BED)report $(TORTURED)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: $(VENV)/.base
	$(BIN)/netsim schema > scenarios/scenario.schema.json
	$(BIN)/netsim schema --study > scenarios/study.schema.json
	$(BIN)/netsim schema --tune > scenarios/tune.schema.json

lock:
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/pip install -q -c constraints.txt -e '.[test,dev]'
	$(VENV)-lock/bin/pip freeze --exclude-editable | sed 's/+cpu$$//; s/+cu[0-9]*$$//' > constraints.txt
	rm -rf $(VENV)-lock

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
