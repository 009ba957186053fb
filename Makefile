# Every target makes .venv and installs into it by itself, once, and again when pyproject.toml or
# constraints.txt change. `make PYTHON=python3.12 install` chooses the Python.

PYTHON ?= python3
WORKERS ?= logical
BIN := .venv/bin
INSTALLED := .venv/.installed
CODE := src tests scripts experiments

.DEFAULT_GOAL := help
.PHONY: help install demo test test-fast test-whole test-browser test-minimum test-readers lint \
  types weights page bench bench-quick clean

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED)  ## make .venv with exact versions (some 5 GB, as torch comes with CUDA)

# uv is much faster than pip; where it cannot be had, pip does the same.
EXACT := -c constraints.txt -e '.[dev,wandb]'

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "nucleist needs Python 3.11 or newer; $(PYTHON) is: $$($(PYTHON) --version 2>&1)." \
	    "Try make PYTHON=python3.12 $(or $(MAKECMDGOALS),install)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	{ $(BIN)/python -m pip install -q uv && $(BIN)/uv pip install --python $(BIN)/python \
	  --compile-bytecode $(EXACT); } || $(BIN)/python -m pip install $(EXACT)
	@touch $@

demo: $(INSTALLED)  ## train on drawn nuclei with a quarter of the labels and show the result
	$(BIN)/nucleist demo

# One thread a worker, and a worker a core: more get in each other's way. Bytecode is written even
# if the environment says otherwise: the many processes that tests start would each compile the
# package again, and every pytest all tests.
SETTINGS := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1
PYTEST := $(SETTINGS) $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal

test: $(INSTALLED)  ## run all tests that need one process, some 6 minutes on two cores
	$(PYTEST) -m "not whole and not browser"

test-fast: $(INSTALLED)  ## run the tests that train nothing, some 90 s on two cores
	$(PYTEST) -m "not slow and not whole and not browser"

# They wait for processes, so three at a time; most of the time is torch's import in each of them.
test-whole: $(INSTALLED)  ## run whole programs: pages of docs, several devices, killed processes
	$(SETTINGS) $(BIN)/python -m pytest -q -n 3 --dist worksteal -m "whole and not browser"

# Chromium is Debian's; elsewhere install it first. Without it these tests are left out.
test-browser: $(INSTALLED)  ## run the tests of the page in Chromium, some 3 minutes
	command -v chromium chromium-browser >/dev/null || { test "$$(id -u)" = 0 && \
	  apt-get -q update && apt-get -qy install --no-install-recommends chromium; }
	$(SETTINGS) $(BIN)/python -m pytest -q -m browser tests/browser

page:  ## bundle the page of nucleist annotate anew; needs Node.js 18 or newer
	cd frontend && npm ci --no-audit --no-fund && npm run build

# Old releases warn of what newer ones that they depend on have deprecated.
test-minimum:  ## run the fast tests with the lowest versions that pyproject.toml allows
	test -x .venv-minimum/bin/python || $(PYTHON) -m venv .venv-minimum
	.venv-minimum/bin/python -m pip install -q uv
	.venv-minimum/bin/uv pip install --python .venv-minimum/bin/python \
	  --resolution lowest-direct -e '.[dev,wandb]'
	$(SETTINGS) .venv-minimum/bin/python -m pytest -q -n $(WORKERS) --dist worksteal \
	  -m "not slow and not whole and not browser" -W ignore::DeprecationWarning

# The newest tifffile and zarr need a newer Python than the oldest that nucleist runs on, and their
# stores are of another generation than those of constraints.txt. Reading needs no torch.
NEWEST = $(shell for p in python3.13 python3.12 $$HOME/.pyenv/versions/3.1[23].*/bin/python \
  $(PYTHON); do $$p -c '' 2>/dev/null && echo $$p && break; done)
READERS := tifffile zarr imagecodecs pillow filelock pytest 'bioio>=3.0' bioio-tifffile \
  'openslide-python>=1.4' openslide-bin

test-readers:  ## test the reading of images with the newest tifffile and zarr, and with bioio
	test -x .venv-readers/bin/python || $(NEWEST) -m venv .venv-readers
	.venv-readers/bin/python -m pip install -q -U $(READERS)
	PYTHONPATH=src $(SETTINGS) .venv-readers/bin/python -m pytest -q \
	  --confcutdir=tests/data/pictures --ignore=tests/data/pictures/test_rescaled.py \
	  tests/data/pictures

lint: $(INSTALLED)  ## check style and formatting
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)

types: $(INSTALLED)  ## check types
	$(BIN)/mypy

weights: $(INSTALLED)  ## train the weights that come with the package, some hours on one core
	OMP_NUM_THREADS=1 $(BIN)/python -m scripts.weights

bench: $(INSTALLED)  ## measure nucleist beside stock torchvision, some 12 minutes; runs/bench
	$(BIN)/python -m scripts.bench

bench-quick: $(INSTALLED)  ## the same with smaller images, under 3 minutes; runs/bench-quick
	$(BIN)/python -m scripts.bench --quick --output runs/bench-quick

clean:  ## remove caches and build outputs; data, runs and .venv stay
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis lightning_logs
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
	find . -maxdepth 2 -name '*.egg-info' -type d -prune -not -path './.venv/*' -exec rm -rf {} +
