# `make demo` and `make test` do all the set-up they need, on a fresh clone too.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# pip would compile all of it on one processor; below all of them do.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt
PYTEST := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest

# What DeepSpeed builds at its first use, for most of a minute, is built once, while all is installed.
export TORCH_EXTENSIONS_DIR ?= $(CURDIR)/$(VENV)/torch_extensions
# Every process of a cluster would compile raykd for itself.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install demo test test-without-clusters test-cluster lint docs benchmark chaos clean

install: $(INSTALLED)

# DeepSpeed's build asks for torch, so torch comes first and the build sees this environment.
$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch setuptools wheel ninja
	DS_BUILD_OPS=0 $(PIP) --no-build-isolation --editable '.[test]'
	# A few packages bring templates that are no Python: what cannot be compiled is said and left.
	-$(BIN)/python -m compileall -q -j 0 $(VENV)/lib raykd
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -c 'from deepspeed.comm.torch import build_shm_op; build_shm_op()' >/dev/null
	touch $@

demo: $(INSTALLED)
	$(BIN)/raykd sweep sweeps/quickstart.yaml
	$(BIN)/raykd sweep sweeps/quickstart-tagging.yaml
	$(BIN)/raykd sweep sweeps/quickstart-parallel.yaml

# What waits, for a cluster above all, has others beside it.
test: $(INSTALLED)
	$(MAKE) --jobs 2 lint test-without-clusters

# In the order of their names: the story of a cluster comes early.
test-without-clusters: $(INSTALLED)
	$(PYTEST) -m 'not cluster and not benchmark and not chaos' --numprocesses 3 --dist loadfile --no-loadscope-reorder --durations 10

test-cluster: $(INSTALLED)
	$(PYTEST) -m cluster --numprocesses 2 --dist loadgroup --durations 10

lint: $(INSTALLED)
	$(BIN)/ruff check raykd tests
	$(BIN)/ruff format --check raykd tests
	$(BIN)/mypy raykd

docs: $(INSTALLED)
	PYTHONPATH=tests $(BIN)/python tests/support/reference_pages.py

benchmark: $(INSTALLED)
	$(PYTEST) -m benchmark -s tests/benchmarks

chaos: $(INSTALLED)
	$(PYTEST) -m chaos -s tests/cluster/test_chaos.py

clean:
	rm -rf $(VENV) build raykd.egg-info .pytest_cache .ruff_cache
