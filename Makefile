PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed
PYTEST_ARGS ?=

.PHONY: help demo test lint format clean

help:
	@echo "make demo    crawl the example's flaky origin, with a live log, stats and a summary"
	@echo "make test    the test suite (some minutes)"
	@echo "make lint    ruff and mypy --strict"
	@echo "make format  let ruff format the code"
	@echo "make clean   remove what the others made"

$(INSTALLED): pyproject.toml scrapy_curl_safe/__init__.py
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade pip
	$(VENV)/bin/python -m pip install --quiet --editable '.[test]'
	touch $@

demo: $(INSTALLED)
	$(VENV)/bin/python example_project/demo.py

test: $(INSTALLED)
	$(VENV)/bin/python -m pytest -n auto -m "not slow" $(PYTEST_ARGS)

lint: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(INSTALLED)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
