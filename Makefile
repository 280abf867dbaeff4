# make train   set everything up, train the default agent by self-play, show how good it is
# make test    the tests          make check   formatting, lint and types
# make bench   the slow learning proofs and the speed comparisons
# make docs    the API reference, into build/docs
# make install only the environment          make clean   remove what these made
# make resolve can it be installed elsewhere? make floors  the tests on the lowest versions pyproject allows

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: install train test check bench docs resolve floors clean

install: $(VENV)/.installed

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(RUN) -m pip install --quiet -c constraints.txt -e ".[web]"
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(RUN) -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

train: install
	$(RUN) scripts/selfplay.py configs/phantom_tictactoe_gated.yaml $(ARGS)

test: $(VENV)/.installed-dev  # one thread in each of the processes
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n auto --maxprocesses 4 --dist worksteal $(ARGS)

check: $(VENV)/.installed-dev
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

bench: $(VENV)/.installed-dev
	$(RUN) -m pytest -m slow $(ARGS)
	$(RUN) scripts/benchmark.py all

docs: $(VENV)/.installed-dev
	$(RUN) scripts/reference.py

resolve:
	PYTHON=$(PYTHON) scripts/resolve.sh $(ARGS)

floors:
	PYTHON=$(PYTHON) scripts/floors.sh $(ARGS)

clean:
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find . -name '*.egg-info' -type d -prune -exec rm -rf {} +
