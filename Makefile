# make demo: simulate a hospital, ingest, train, evaluate, open the page (SERVE=0 stops before it,
#            DATA=directory takes a real data set that has a mapping, OUT=directory says where).
# make test: the fast tests. make test-all: the slow ones too, on examples that no run had before.
# make lock: renew requirements.lock.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
UV_VERSION := 0.13.8
SERVE ?= 1
OUT ?= demo

.PHONY: demo test test-all lint lock clean
demo: $(STAMP)
	$(BIN)/medweave demo --out $(OUT) $(if $(DATA),--data $(DATA)) $(if $(filter 0,$(SERVE)),--no-serve)

# One thread an operation: two test processes share the cores.
test: $(STAMP) lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile -rs $(ARGS)

test-all: $(STAMP) lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --hypothesis-profile=search -n 2 --dist loadfile -rs $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

lock: $(STAMP)
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --generate-hashes \
		--no-emit-index-url --quiet --custom-compile-command "make lock" --output-file requirements.lock

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Medweave needs Python 3.11 or newer; got " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes --requirements requirements.lock
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $(STAMP)

clean:
	rm -rf $(VENV) $(OUT)
