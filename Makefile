PYTHON ?= python3
# Worker processes of the test run.
JOBS ?= auto
BIN := .venv/bin
DONE := .venv/.installed
DEBIAN_15 := /usr/lib/postgresql/15/bin/postgres
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
PYTEST := $(BIN)/pytest --numprocesses $(JOBS) --maxprocesses 8 --dist worksteal

# Without byte code every start of a program costs seconds.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
MINUTES ?= 5
.PHONY: help setup demo dev test suite check bench chaos leaks mutate

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-6s  %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(DONE) ## make .venv from the lock file

$(DONE): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; name it: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --require-hashes --requirement requirements/dev.txt
	$(PIP) --no-deps --no-build-isolation --editable .
# By all processors, and not the thousands of modules that nothing here imports.
	$(BIN)/python -m compileall -q -j 0 -x '/(cloudflare|faker|moto|mypy|mypyc|pip)/' .venv/lib controlplane dns emails
	@touch $@

demo: $(DONE) ## do the main job once, in a throw-away folder; DNS=bind: before a real name server
	@$(if $(filter bind,$(DNS)),$(BIN)/python scripts/demo_bind.py,$(BIN)/controlplane demo)

dev: $(DONE) ## run everything on this machine until Ctrl-C
	@exec $(BIN)/controlplane dev

test: check suite ## check, then every test: whole on PostgreSQL 18, near the database on 16 and 15

# Of what is near the database: the engine's protocol on the newest; what the servers differ in on the
# oldest as well, and in between what is made and closed for a tenant. Only the files that have such
# tests are named, since to read all the others costs as long as many a test.
NEAR := $(shell grep -rl --include='test_*.py' database_near tests)
suite: $(DONE)
	$(PYTEST)
	@set -x; $(PYTEST) -m database_near --postgres=16 -k "not batches" $(filter tests/integration/tenancy/% tests/security/%,$(NEAR))
	@if test -x $(DEBIAN_15) || test "$$CONTROLPLANE_TEST_REQUIRE" = all; then \
	  set -x; $(PYTEST) -m database_near --postgres=15 $(filter-out tests/engine/%,$(NEAR)); \
	else \
	  echo "PostgreSQL 15 skipped: there is no $(DEBIAN_15); see scripts/install-test-peers"; \
	fi

check: $(DONE) ## format, lint, types and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy controlplane dns/controlplane_dns emails/controlplane_emails tests bench scripts examples
	$(BIN)/lint-imports

bench: $(DONE) ## measure against floors in the same run
	@$(BIN)/python bench/provision.py
	@$(BIN)/python bench/engine.py
	@$(BIN)/python bench/row_security.py

chaos: $(DONE) ## kill workers and PostgreSQL at random for MINUTES, then look for harm
	@$(BIN)/python -m tests.engine.chaos --minutes $(MINUTES)

leaks: $(DONE) ## look for leaks in 35,000 requests: directly, through PgBouncer, through a Redis that fails
	$(BIN)/pytest tests/integration/routing/test_leaks.py --leaks 10000 -s

mutate: $(DONE) ## break moves, plans and journal on purpose; count what the fast tests notice
	@$(BIN)/python scripts/mutate.py
