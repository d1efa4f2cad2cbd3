# make demo and make test each work as the first command on a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
IMAGES ?=

.PHONY: install demo test check fix bench hygiene durability stubs clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[cpu,parquet,lite,demo,dev]'
	touch $(INSTALLED)

demo: $(INSTALLED)
	$(BIN)/visual-memory demo $(if $(IMAGES),--images '$(IMAGES)')

test: $(INSTALLED)
	$(BIN)/python -m pytest -q

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(INSTALLED)
	OMP_WAIT_POLICY=passive $(BIN)/python benchmarks/performance/hygiene.py
	OMP_WAIT_POLICY=passive $(BIN)/python benchmarks/performance/ratios.py

hygiene: $(INSTALLED)
	PYTHONPATH=benchmarks/performance:benchmarks/hygiene $(BIN)/python benchmarks/hygiene/confidence.py
	PYTHONPATH=benchmarks/performance:benchmarks/hygiene $(BIN)/python benchmarks/hygiene/noise.py

durability: $(INSTALLED)
	KILL_ROUNDS=60 $(BIN)/python -m pytest -q tests/durability

stubs: $(INSTALLED)
	$(BIN)/python protos/generate.py

clean:
	rm -rf $(VENV) build dist demo-output .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
