VENV := .venv
PYTHON ?= python3
STAMP := $(VENV)/.installed
WORKERS ?= auto

.PHONY: help run test torture lint format clean bench screenshots

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(STAMP) ## serve on http://127.0.0.1:8080 (PORT=9090 make run), with a PostgreSQL of its own in .mitosis/
	@exec $(VENV)/bin/mitosis serve

test: $(STAMP)-test ## run the tests, each core some of them, against PostgreSQLs of their own; WORKERS=0 make test for one process
	@$(VENV)/bin/python -m pytest -n $(WORKERS) --maxprocesses 4 --dist loadfile

torture: $(STAMP)-test ## run the long tests too: kills by the hundred
	@$(VENV)/bin/python -m pytest -m torture

bench: $(STAMP)-bench ## measure and write docs/benchmarks.md; QUICK=1 make bench takes two minutes and writes nothing
	@$(VENV)/bin/python -m tests.bench $(if $(QUICK),--quick)

screenshots: $(STAMP)-test ## make the pictures in docs/console anew (needs a chromium and a Chinese font)
	@MITOSIS_REQUIRE_BROWSER=1 $(VENV)/bin/python -m pytest -m pictures tests/console

lint: $(STAMP)-test $(STAMP)-lint ## ruff and mypy
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(STAMP)-lint ## lay the code out
	$(VENV)/bin/ruff format .

clean: ## remove the virtual environment and all caches; the data in .mitosis/ stays
	rm -rf $(VENV) .hypothesis .mypy_cache .pytest_cache .ruff_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(STAMP): setup.cfg pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[embedded,nats]'
	@touch $@

$(STAMP)-%: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[$*]'
	@touch $@
