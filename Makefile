# make demo: train on the built-in digits      make test: all tests      make check: format, lint, types
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.PHONY: demo test check format tables clean

demo: $(READY)
	@rm -rf runs/demo
	@$(BIN)/convista train digits --model lenet5 --epochs 50 --batch 32 --out runs/demo
	@echo "Open runs/demo/report.html in a browser."

test: $(READY)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal

check: $(READY)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: $(READY)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

# The computed columns of the catalogue, the pages of docs/networks, and the page of the experiments.
tables: $(READY)
	@$(BIN)/python -m convista.pricing.facts
	@$(BIN)/python docs/make_networks.py
	@$(BIN)/python docs/make_experiments.py

# Rebuilt only when the requirements change.
$(READY): pyproject.toml
	@echo "Setting up .venv (PyTorch is large: a few minutes the first time) …"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "convista needs Python 3.11 or newer; set PYTHON=python3.12, for example."; exit 1; }
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(READY)

clean:
	rm -rf .venv runs .pytest_cache .mypy_cache .ruff_cache
