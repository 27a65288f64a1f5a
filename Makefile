# `make demo` and `make test` do all the set-up they need, on a fresh clone too.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: install demo test lint docs benchmark chaos clean

install: $(INSTALLED)

# DeepSpeed's build asks for torch, so torch comes first and the build sees this environment.
$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch setuptools wheel ninja
	DS_BUILD_OPS=0 $(PIP) --no-build-isolation deepspeed
	$(PIP) --no-build-isolation --editable '.[test]'
	touch $@

demo: $(INSTALLED)
	$(BIN)/raykd sweep sweeps/quickstart.yaml
	$(BIN)/raykd sweep sweeps/quickstart-tagging.yaml
	$(BIN)/raykd sweep sweeps/quickstart-parallel.yaml

test: lint
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -m 'not benchmark and not chaos'

lint: $(INSTALLED)
	$(BIN)/ruff check raykd tests
	$(BIN)/ruff format --check raykd tests

docs: $(INSTALLED)
	PYTHONPATH=tests $(BIN)/python tests/support/reference_pages.py

benchmark: $(INSTALLED)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -m benchmark -s tests/benchmarks

chaos: $(INSTALLED)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -m chaos -s tests/cluster/test_chaos.py

clean:
	rm -rf $(VENV) build raykd.egg-info .pytest_cache .ruff_cache
