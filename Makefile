# `make demo` and `make test` do all set-up themselves on a machine with Python 3.11 to 3.13, pip,
# venv and make.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

# An environment that could not be finished (Debian without python3-venv, Ctrl-C) is made again.
.DELETE_ON_ERROR:

.PHONY: demo web test test-fast lint docs clean

demo: $(VENV)/.installed
	@start=$$(date +%s.%N); \
	$(BIN)/mspfn restore mspfn_tf/sample/rainy.jpg --output demo --compare --overwrite || exit 1; \
	end=$$(date +%s.%N); \
	echo "clean picture: demo/rainy.jpg"; \
	echo "before and after: demo/rainy_compare.jpg"; \
	awk -v a="$$start" -v b="$$end" 'BEGIN { printf "took %.1f s from command to files\n", b - a }'

# The page of `mspfn app` as a folder for any static host.
web: $(VENV)/.installed
	$(BIN)/mspfn app --output build/web --overwrite

test: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pyright --pythonpath $(BIN)/python
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-fast: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 2 -m "not slow"

lint: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python -m pyright --pythonpath $(BIN)/python

# Makes the generated tables of the documentation again from what was measured.
docs: $(VENV)/.installed-test
	$(BIN)/python -m tools.docs

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
	echo "Python 3.11 to 3.13 is needed, not $$($(PYTHON) --version 2>&1):" \
	"name one, as in: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip

# An environment runs the code of the folder where it was installed. Once that was moved it runs nothing,
# and in a copy the code of the original: it is installed again.
ifneq ($(shell cat $(VENV)/.installed 2>/dev/null),$(shell pwd -P))
.PHONY: $(VENV)/.installed
endif

# Not $(BIN)/pip, which would be that of the folder before.
$(VENV)/.installed: setup.cfg setup.py pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	@pwd -P > $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	@touch $@

clean:
	rm -rf $(VENV) build demo *.egg-info
