# Each target makes what it needs: the virtual environment in .venv, and the dependencies in it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml
# As an installation would: an editable one compiles on import, and not even that where
# PYTHONDONTWRITEBYTECODE is set.
COMPILE := @$(BIN)/python -m compileall -q src

RECORDED := build/recorded
BY_OPENVINO := build/by_openvino

.PHONY: demo test test-without-tensorflow test-openvino lint bench protos clean

# The demo needs no TensorFlow; tests and benchmarks do: it is their judge.
demo: $(VENV)/demo.stamp
	$(COMPILE)
	$(BIN)/python examples/demo.py

# What TensorFlow gives in these is kept, and then replayed where it can't be imported.
test: $(VENV)/test.stamp
	rm -rf $(RECORDED)
	GRAPHRACK_RECORD=$(RECORDED) $(BIN)/pytest -n 2 --dist loadfile
	$(MAKE) test-without-tensorflow

test-without-tensorflow: $(VENV)/test.stamp
	test -d $(RECORDED) || GRAPHRACK_RECORD=$(RECORDED) $(BIN)/pytest -n 2 --dist loadfile tests/ops tests/endtoend
	GRAPHRACK_REPLAY=$(RECORDED) $(BIN)/pytest -n 2 tests/without_tensorflow tests/fixtures

# The same tests with OpenVINO as the engine, whose results are compared with the interpreter's; then what it ran.
test-openvino: $(VENV)/test.stamp
	rm -rf $(BY_OPENVINO)
	GRAPHRACK_BY_OPENVINO=$(BY_OPENVINO) $(BIN)/pytest -n 2 --dist loadfile
	GRAPHRACK_RAN_BY_OPENVINO=$(BY_OPENVINO) $(BIN)/pytest tests/ran_by_openvino

lint: $(VENV)/lint.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/test.stamp $(VENV)/bench.stamp
	$(COMPILE)
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.collection

# Compiles the messages of TensorFlow's files into Python modules.
protos: $(VENV)/protos.stamp
	cd src && ../$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. graphrack/formats/protos/*.proto

$(VENV)/venv.stamp:
	$(PYTHON) -c 'import sys; sys.exit("graphrack needs Python 3.10 or newer; found " + sys.version.split()[0] + ": make PYTHON=python3.x" if sys.version_info < (3, 10) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade "pip>=25.1"
	touch $@

$(VENV)/%.stamp: $(SOURCES) $(VENV)/venv.stamp
	$(BIN)/python -m pip install -q -e . --group $*
	touch $@

clean:
	rm -rf $(VENV) $(RECORDED) $(BY_OPENVINO) demo-output benchmarks/.work .pytest_cache .mypy_cache .ruff_cache .hypothesis
