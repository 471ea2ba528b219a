# The commands of README.md and .ci/run. `make help` lists them. No target needs an active virtual environment.

# A Python that the project supports: python3 if its version fits, else the newest one found. PYTHON=... overrides it.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $$p && break; done)
VENV   ?= .venv
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.installed
# CPU wheels of torch, if PyTorch's own index can be reached; else those of the index that pip is set up with.
# On a machine with an NVIDIA GPU: make TORCH_INDEX=https://download.pytorch.org/whl/cu130
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
WORKERS ?= 2
TORCH  := $(shell sed -n 's/^ *"\(torch==[^"]*\)",$$/\1/p' pyproject.toml)

.DEFAULT_GOAL := help
.PHONY: help install demo serve test slow bench lint types format docs compose-test clean

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-22s %s\n", $$1, $$2}'

install: $(STAMP)  ## create the virtual environment (the other targets do it when needed)

# torch first and alone, from the index that has the right variant; its requirements come from the ordinary index. With an
# unchanged pyproject.toml a second run does nothing.
$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11, 3.12 or 3.13 found: install one or name it with make PYTHON=..." >&2; exit 2; }
	@test -x $(PY) || { echo "making $(VENV) with $(PYTHON)"; $(PYTHON) -m venv $(VENV); }
	$(PY) -m pip install -q --disable-pip-version-check --no-deps --extra-index-url $(TORCH_INDEX) $(TORCH)
	$(PY) -m pip install -q --disable-pip-version-check -e '.[dev]'
	$(PY) -m nmt.kernels
	@touch $@
	@echo "installed; in each terminal that runs the commands: . $(VENV)/bin/activate"

demo: $(STAMP)  ## train on the starter corpus, export, translate, serve until Ctrl-C
	@$(PY) -m nmt.demo

serve: $(STAMP)  ## serve the models in models/ (see python -m service --help)
	$(PY) -m service --models models

# Two processes with one thread each take less time than one process with two threads. WORKERS=0 runs all in one process.
test: $(STAMP)  ## run the tests (CPU, no network); ARGS=... goes to pytest
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

slow: $(STAMP)  ## run the tests that take longer
	OMP_NUM_THREADS=1 $(PY) -m pytest -m slow -n $(WORKERS) --dist worksteal $(ARGS)

bench: $(STAMP)  ## run the benchmarks (tests/benchmarks/README.md); ARGS=... names cases and options
	@$(PY) -m tests.benchmarks $(ARGS)

lint: $(STAMP)  ## check style and format (ruff)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(STAMP)  ## check types (mypy, strict)
	$(PY) -m mypy

format: $(STAMP)  ## format the code (ruff)
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

docs: $(STAMP)  ## write the generated parts of docs/ anew
	$(PY) docs/make.py

compose-test: $(STAMP)  ## build and run the containers (needs a Docker engine)
	$(PY) -m pytest -m compose $(ARGS)

clean:  ## remove caches and the virtual environment; runs and models stay
	rm -rf $(VENV) nmt/kernels/lib build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
