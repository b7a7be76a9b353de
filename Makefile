# Two commands do the work on a fresh machine: `make demo` and `make test`.
# Both first create .venv from requirements.lock when it is missing or out of date.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
TORCH  := $(shell grep '^torch==' requirements.lock)

# More threads than cores, or tests on every core of a shared machine, are slower than two.
OMP_NUM_THREADS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test slow bench lint format types imports check lock clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

demo: $(VENV)/.stamp ## track people in the sample clip; writes to demo/
	@$(BIN)/svit demo -o demo

test slow bench: export OMP_NUM_THREADS := $(OMP_NUM_THREADS)

test: $(VENV)/.stamp ## run the test suite
	$(BIN)/python -m pytest -q -m "not slow and not bench"

slow: $(VENV)/.stamp ## run the tests that take minutes or gigabytes
	$(BIN)/python -m pytest -q -m slow

bench: $(VENV)/.stamp ## measure speed and memory beside reference implementations
	$(BIN)/svit bench

lint: $(VENV)/.stamp ## check style and complexity
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.stamp ## fix what can be fixed by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.stamp ## check types
	$(BIN)/mypy

imports: $(VENV)/.stamp ## check who imports whom
	$(BIN)/lint-imports --no-logo

check: lint types imports ## lint, types and imports

# torch comes first and with its dependencies, because they differ between the CPU and the CUDA build and
# are therefore not in the lock. The rest comes without: trackeval and trackers ask for opencv-python,
# which needs libGL; the lock installs the opencv-python-headless that training asks for in its place.
$(VENV)/.stamp: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "svit needs Python 3.11 or newer, but $(PYTHON) is '$$($(PYTHON) --version 2>&1)': make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Setting up $(VENV) (once; takes a few minutes)" >&2
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install -q -c requirements.lock "$(TORCH)"
	@$(PIP) install -q --no-deps -r requirements.lock
	@$(PIP) install -q --no-deps --no-build-isolation -e .
	@touch $@

lock: ## resolve the newest versions anew and write requirements.lock
	rm -rf .lock-venv && $(PYTHON) -m venv .lock-venv
	.lock-venv/bin/pip install -q "$(TORCH)"
	.lock-venv/bin/pip install -q ".[train,eval,text,bench,dev]"
	{ sed -n '/^#/p' requirements.lock; .lock-venv/bin/pip list --format=freeze --disable-pip-version-check \
	  | grep -v -i -E '^(pip==|streaming-video-model|nvidia-|cuda-|triton)' \
	  | sed -E 's/^(torch==[^+]*)\+.*/\1/; s/^opencv-python==/opencv-python-headless==/' | uniq; } > requirements.lock.new
	mv requirements.lock.new requirements.lock && rm -rf .lock-venv

clean: ## remove what `make` wrote, except the environment
	rm -rf demo dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find src tests benchmarks runs -name __pycache__ -prune -exec rm -rf {} +
