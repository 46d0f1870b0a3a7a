# Two commands are enough: `make demo` and `make test`. Both make the environment first.
# AIRFLOW=3.2 runs any of them on the oldest Airflow that is supported.

AIRFLOW ?= 3.3
VENV := $(if $(filter 3.3,$(AIRFLOW)),.venv,.venv-$(AIRFLOW))
CONSTRAINTS := constraints/airflow-$(AIRFLOW).txt
PYTHON ?= python3

# Some parts of Airflow start each other by the name `airflow`.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: help setup demo demo-rollback test lint types unit ui lock clean

help:
	@echo "make demo           watch a feature go from nothing to 100 % in a real Airflow"
	@echo "make demo-rollback  watch one that goes wrong take itself back, and why"
	@echo "make test           ruff, mypy --strict and pytest"
	@echo "make ui             the emulator and an Airflow with the examples, to look at"
	@echo "make setup          only the environment ($(VENV))"

setup: $(VENV)/.installed

# --compile-bytecode: without it every process would compile Airflow anew where PYTHONDONTWRITEBYTECODE is set.
$(VENV)/.installed: pyproject.toml $(CONSTRAINTS)
	@echo "Making the environment $(VENV) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --constraint $(CONSTRAINTS) uv
	@$(VENV)/bin/uv pip install --quiet --compile-bytecode --python $(VENV)/bin/python --constraint $(CONSTRAINTS) --editable '.[dev]'
	@touch $@

demo: setup
	@$(VENV)/bin/python -m tools.demo

demo-rollback: setup
	@$(VENV)/bin/python -m tools.demo_rollback

ui: setup
	@$(VENV)/bin/python -m tools.ui

test: lint types unit

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: setup
	$(VENV)/bin/mypy

unit: setup
	$(VENV)/bin/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

# Resolve anew what the environment installs. Review the difference before it is committed.
lock: setup
	$(VENV)/bin/uv pip compile pyproject.toml --extra dev --universal --python-version 3.10 --upgrade \
	  --no-annotate --no-header --output-file constraints/airflow-3.3.txt
	printf 'apache-airflow==3.2.*\nfastapi<0.137\nsvcs<26\n' | $(VENV)/bin/uv pip compile pyproject.toml - --extra dev --universal --python-version 3.10 --upgrade \
	  --no-annotate --no-header --output-file constraints/airflow-3.2.txt

clean:
	rm -rf .venv .venv-* .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
