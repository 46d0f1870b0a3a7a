# Two commands are enough: `make demo` and `make test`. Both make the environment first.
# AIRFLOW=3.2 runs any of them on the oldest Airflow that is supported, and PYTHON=python3.13 on another Python. Each has
# an environment of its own.

AIRFLOW ?= 3.3
PYTHON ?= python3
VENV := .venv$(if $(filter 3.3,$(AIRFLOW)),,-$(AIRFLOW))
ifneq ($(origin PYTHON),file)
VENV := $(VENV)-py$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
endif
CONSTRAINTS := constraints/airflow-$(AIRFLOW).txt
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

# Some parts of Airflow start each other by the name `airflow`.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: help setup demo demo-rollback demo-holdback test test-deep test-ui chaos lint types unit ui docs bench bench-statistics wheel lock clean

help:
	@echo "make demo           watch a feature go from nothing to 100 % in a real Airflow"
	@echo "make demo-rollback  watch one that goes wrong take itself back, and why"
	@echo "make demo-holdback  watch two plain releases checked by their own held-back users"
	@echo "make test           ruff, mypy --strict and pytest"
	@echo "make ui             the emulator and an Airflow with the examples, to look at"
	@echo "make test-deep      10,000 generated histories of a rollout, 1,000,000 users, 500 changes watched, 100 kills (some 30 minutes)"
	@echo "make chaos          releases in an Airflow whose processes are killed (SEED=1; takes minutes)"
	@echo "make bench          what it costs beside its peers, written to docs/performance.md"
	@echo "make bench-statistics  millions of users bucketed; 40,000 simulated rollouts with held-back users"
	@echo "make wheel          sdist and wheel, looked through; the wheel runs the demo in an empty environment"
	@echo "make docs           the documentation as a site, in site/"
	@echo "make test-ui        the Rollouts page and the connection form in a real browser"
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

demo-holdback: setup
	@$(VENV)/bin/python -m tools.demo_holdback

ui: setup
	@$(VENV)/bin/python -m tools.ui

wheel: setup
	@CONSTRAINTS=$(notdir $(CONSTRAINTS)) $(VENV)/bin/python -m tools.wheel

# The peers and PostgreSQL's drivers are no part of the environment for work, so these have one of their own.
bench: setup .venv-bench/.installed
	@PATH="$(CURDIR)/.venv-bench/bin:$$PATH" .venv-bench/bin/python -m benchmarks

# Without the peers, in the environment for work.
bench-statistics: setup
	@$(VENV)/bin/python -m benchmarks.bucketing
	@$(VENV)/bin/python -m benchmarks.holdback

.venv-bench/.installed: pyproject.toml constraints/bench.txt
	@echo "Making the environment .venv-bench ..."
	@$(PYTHON) -m venv --clear .venv-bench
	@$(VENV)/bin/uv pip install --quiet --compile-bytecode --python .venv-bench/bin/python --constraint constraints/bench.txt --editable '.[bench]'
	@touch $@

# What makes the site has no part in what it describes, so it has an environment of its own. Never with --quiet: then
# mkdocs does not count its warnings, and strict means nothing.
docs: .venv-docs/.installed
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict
	@! grep -rlE '<(script|link|img|iframe)[^>]+"(https?:)?//' site --include=*.html || { echo "These ask another host."; exit 1; }
	@echo "The site is in site/. Open site/index.html, or, to search in it too: python3 -m http.server -d site -b 127.0.0.1"

.venv-docs/.installed: pyproject.toml constraints/docs.txt
	@echo "Making the environment .venv-docs ..."
	@$(PYTHON) -m venv --clear .venv-docs
	@.venv-docs/bin/python -m pip install --quiet --constraint $(CONSTRAINTS) uv
	@.venv-docs/bin/uv pip install --quiet --compile-bytecode --python .venv-docs/bin/python --constraint constraints/docs.txt --editable '.[docs]'
	@touch $@

# Debian's own browser; playwright drives it and downloads none. The pictures of the documentation are made anew.
test-ui: setup
	@command -v chromium >/dev/null || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -qq -y --no-install-recommends chromium >/dev/null; }
	@$(VENV)/bin/uv pip install --quiet --compile-bytecode --python $(VENV)/bin/python --constraint $(CONSTRAINTS) --constraint constraints/ui.txt --editable '.[ui]'
	$(VENV)/bin/python -m pytest tests_ui

# By force: PostgreSQL, and Redis for CHAOS='--executor celery', come from Debian where they are absent.
SEED ?= 1
chaos: setup .venv-chaos/.installed
	@PATH="$(CURDIR)/.venv-chaos/bin:$$PATH" .venv-chaos/bin/python -m tests.chaos --seed $(SEED) $(CHAOS)

.venv-chaos/.installed: pyproject.toml constraints/chaos.txt
	@echo "Making the environment .venv-chaos ..."
	@$(PYTHON) -m venv --clear .venv-chaos
	@$(VENV)/bin/uv pip install --quiet --compile-bytecode --python .venv-chaos/bin/python --constraint constraints/chaos.txt --editable '.[chaos]'
	@touch $@

test: lint types unit

test-deep: setup
	AMPEXP_PROOF_EXAMPLES=10000 $(VENV)/bin/python -m pytest tests/proof tests/guardrails/test_data_time.py --numprocesses 2 --dist worksteal -o faulthandler_timeout=0
	AMPEXP_BUCKETING_IDS=1000000 $(VENV)/bin/python -m pytest tests/bucketing --numprocesses 2 -o faulthandler_timeout=0
	AMPEXP_WATCHDOG_RUNS=100 AMPEXP_WATCHDOG_KILLS=100 $(VENV)/bin/python -m pytest tests/watchdog --numprocesses 2 --dist loadfile -o faulthandler_timeout=0
	AMPEXP_WATCHER_CHANGES=500 AMPEXP_WATCHER_KILLS=5 $(VENV)/bin/python -m pytest tests/airflow/test_airflow_watcher.py

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports

# The types are those of the newest Airflow. Airflow 3.2 has no task state store, so its types differ.
types: setup
ifeq ($(AIRFLOW),3.3)
	$(VENV)/bin/mypy
endif

# Many of them wait for something, so that three keep two cores busy.
unit: setup
	$(VENV)/bin/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

# Resolve anew what the environment installs. Review the difference before it is committed.
lock: setup
	$(VENV)/bin/uv pip compile pyproject.toml --extra dev --universal --python-version 3.10 --upgrade \
	  --no-annotate --no-header --output-file constraints/airflow-3.3.txt
	printf 'apache-airflow==3.2.*\nfastapi<0.137\nsvcs<26\n' | $(VENV)/bin/uv pip compile pyproject.toml - --extra dev --universal --python-version 3.10 --upgrade \
	  --no-annotate --no-header --output-file constraints/airflow-3.2.txt
	$(VENV)/bin/uv pip compile pyproject.toml --extra bench --universal --python-version 3.10 --upgrade \
	  --no-annotate --no-header --constraint constraints/airflow-3.3.txt --output-file constraints/bench.txt
	$(VENV)/bin/uv pip compile pyproject.toml --extra chaos --universal --python-version 3.10 --upgrade \
	  --no-annotate --no-header --constraint constraints/airflow-3.3.txt --output-file constraints/chaos.txt
	$(VENV)/bin/uv pip compile pyproject.toml --extra docs --universal --python-version 3.10 --upgrade \
	  --no-annotate --no-header --constraint constraints/airflow-3.3.txt --output-file constraints/docs.txt
	echo 'playwright>=1.50' | $(VENV)/bin/uv pip compile - --universal --python-version 3.10 --upgrade \
	  --no-annotate --no-header --constraint constraints/airflow-3.3.txt --output-file constraints/ui.txt

clean:
	rm -rf .venv .venv-* .mypy_cache .pytest_cache .ruff_cache .hypothesis dist site
