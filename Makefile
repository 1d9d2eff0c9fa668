# Everything a fresh clone needs. `make quickstart` sets up an environment and runs the whole way on synthetic data;
# `make test` runs the checks and the tests, `make test-all` the slow ones too. All take PYTHON=python3.12 (3.10 to 3.13) and PIP_FLAGS=… (say, an index
# that serves torch for your CUDA version, or for the CPU alone).

PYTHON ?= python3
PIP_FLAGS ?=
VENV ?= .venv
BIN := $(VENV)/bin
SETUP := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt

.PHONY: quickstart test test-all checkers api clean
.DELETE_ON_ERROR:

quickstart: $(VENV)/.installed
	$(BIN)/trace quickstart

# One thread each, because two processes share the cores. Byte code is kept, even where the environment says otherwise:
# the tests start hundreds of processes, which would compile everything again.
test test-all: export OMP_NUM_THREADS = 1
test test-all: export PYTHONDONTWRITEBYTECODE =
test: TESTS = not slow and not nightly
test-all: TESTS = not nightly
test test-all: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --dist loadfile -m "$(TESTS)"

# programs of others that judge exported files: `trace export --validate` and the tests find gltf-validator there
checkers: $(VENV)/.installed-test
	npm install --ignore-scripts --no-audit --no-fund --prefix ~/.cache/trace-5d/checkers gltf-validator@2.0.0-dev.3.10

# one page for each module, from its docstrings; open api/index.html
api: $(VENV)/.installed-docs
	$(BIN)/pdoc --output-directory api trace_data trace_train

$(VENV)/.installed: constraints.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(SETUP) -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(SETUP) -e '.[test]'
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(SETUP) -e '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) quickstart api build dist *.egg-info
