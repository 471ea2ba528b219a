# The same few commands here, in the README and in .ci/run. `make help` lists them.

# A Python that the project supports: python3 where it fits, else the newest that does. PYTHON=... overrides it.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $$p && break; done)
VENV   ?= .venv
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.installed
# CPU wheels of torch where PyTorch's own index is within reach (else the index that pip is set up with).
# On a machine with an NVIDIA GPU: make TORCH_INDEX=https://download.pytorch.org/whl/cu130
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
TORCH  := $(shell sed -n 's/^ *"\(torch==[^"]*\)",$$/\1/p' pyproject.toml)

.DEFAULT_GOAL := help
.PHONY: help install demo serve test slow lint types format docs compose-test clean

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-22s %s\n", $$1, $$2}'

install: $(STAMP)  ## make the virtual environment (also done by the others when needed)

# torch first and alone, from the index that has the right variant (what it needs comes from the ordinary one); a second run with an unchanged pyproject.toml does nothing.
$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11, 3.12 or 3.13 found: install one or name it with make PYTHON=..." >&2; exit 2; }
	@test -x $(PY) || { echo "making $(VENV) with $(PYTHON)"; $(PYTHON) -m venv $(VENV); }
	$(PY) -m pip install -q --disable-pip-version-check --no-deps --extra-index-url $(TORCH_INDEX) $(TORCH)
	$(PY) -m pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: $(STAMP)  ## train on the starter corpus, export, translate, serve (Ctrl-C ends it)
	@$(PY) -m nmt.demo

serve: $(STAMP)  ## serve the models in models/ (see python -m service --help)
	$(PY) -m service --models models

test: $(STAMP)  ## the tests (CPU, no network)
	$(PY) -m pytest $(ARGS)

slow: $(STAMP)  ## the tests that take longer
	$(PY) -m pytest -m slow $(ARGS)

lint: $(STAMP)  ## ruff: style and format
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(STAMP)  ## mypy, strict
	$(PY) -m mypy

format: $(STAMP)  ## ruff: put into the one format
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

docs: $(STAMP)  ## write the generated parts of docs/ anew
	$(PY) docs/make.py

compose-test: $(STAMP)  ## docker compose build, up, POST, down (needs a Docker engine)
	$(PY) -m pytest -m compose $(ARGS)

clean:  ## remove caches and the virtual environment; runs and models stay
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
