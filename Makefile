# Everything runs from .venv, which the first target that needs it makes.
PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install demo cards test test-fast test-security test-flower test-huggingface test-py check docs format clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "medleak needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(STAMP)  ## simulate the clean and the DP chest X-ray job, invert both, show what leaked
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python jobs/demo.py

cards: $(STAMP)  ## every configuration of docs/cards on phantoms, and their table; hours
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python docs/cards/make.py docs/cards workspace/cards

# Files go to the workers in their order, so that the longest, which start NVFlare, begin first.
PYTEST := PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 $(BIN)/python -m pytest \
  --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

test: $(STAMP)  ## every test
	$(PYTEST)

test-fast: $(STAMP)  ## tests for the work in between: no NVFlare, browser or long attack; under 90 s
	$(PYTEST) -m "not simulator and not browser and not slow"

test-security: $(STAMP)  ## every generated attack: 20,000 updates, 500 kills, 5,000 records
	MEDLEAK_SECURITY=full $(PYTEST) -o timeout=7200 tests/security

# Flower wants older versions of what others of our tools want newer: they lie in front of VENV's.
FLOWER := .venv-flower
PURELIB := import sysconfig; print(sysconfig.get_paths()["purelib"])

$(FLOWER)/.installed: $(STAMP) constraints-flower.txt
	$(BIN)/python -m venv --clear $(FLOWER)
	$(BIN)/python -c '$(PURELIB)' > "$$($(FLOWER)/bin/python -c '$(PURELIB)')/beside.pth"
	$(FLOWER)/bin/python -m pip install --quiet --constraint constraints-flower.txt flwr
	@touch $@

test-flower: $(FLOWER)/.installed  ## the tests that need Flower, in an environment beside .venv
	OMP_NUM_THREADS=1 FLWR_TELEMETRY_ENABLED=0 $(FLOWER)/bin/python -m pytest -p no:cacheprovider \
	  -m "not simulator" tests/custom/flower tests/docs/test_readme.py

# Light to install (93 MB), but MONAI and others import transformers wherever they find it.
HUGGINGFACE := .venv-huggingface

$(HUGGINGFACE)/.installed: $(STAMP)
	$(BIN)/python -m venv --clear $(HUGGINGFACE)
	$(BIN)/python -c '$(PURELIB)' > "$$($(HUGGINGFACE)/bin/python -c '$(PURELIB)')/beside.pth"
	$(HUGGINGFACE)/bin/python -m pip install --quiet --constraint constraints.txt transformers accelerate
	@touch $@

# NVFlare's simulator starts .venv's python, which finds them by PYTHONPATH.
test-huggingface: $(HUGGINGFACE)/.installed  ## a Trainer of Hugging Face, installed beside .venv
	PYTHONPATH="$$($(HUGGINGFACE)/bin/python -c '$(PURELIB)')" $(PYTEST) -k hugging_face tests/foreign

test-py:  ## the fast tests under another Python, in a venv of its own: make test-py PYTHON=python3.13
	$(MAKE) PYTHON=$(PYTHON) VENV=.venv-$(notdir $(PYTHON)) test-fast

docs: $(STAMP)  ## the documentation as HTML, in docs/_build/html; a warning is an error
	$(BIN)/sphinx-build -W --keep-going --jobs auto docs docs/_build/html

check: $(STAMP)  ## format, lint, types, the order of rooms, declared dependencies
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry filters custom inversion jobs

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) docs/_build simulator_workspace .pytest_cache .ruff_cache
