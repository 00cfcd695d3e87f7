# make demo | make test | make test-faults | make test-sky | make promises | make lint | make bench
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_READY := $(VENV)/.installed
TEST_READY := $(VENV)/.installed-test
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo test test-faults test-sky promises lint bench clean

demo: $(DEMO_READY)
	@$(BIN)/clip-assets demo $(ARGS)

# On the built wheel, in a folder without the checkout's own modules. `.venv/bin/pytest` tests those.
test: $(TEST_READY)
	@./tests/browser/install_chromium
	@./tests/integration/postgres/install_pgbouncer
	@$(BIN)/python -m tests.installed -n 4 --dist loadfile --no-loadscope-reorder $(ARGS)

# Needs root on Debian: runs SkyPilot itself on a local Slurm cluster, in its own namespaces.
test-sky: $(TEST_READY)
	@PYTHON=$(BIN)/python tests/skypilot/cluster/cluster run -- python -m pytest -n 2 --dist loadfile tests/skypilot $(ARGS)

# Kills, full disks, faulty stores and hostile images: about 10 minutes. As root also small disks.
test-faults: $(TEST_READY)
	@./tests/faults/install_libfaketime
	@FAULTS=1 $(BIN)/python -m pytest -n 2 --dist loadfile tests/faults $(ARGS)

# Runs the tests that show a promise, and writes what they measured to docs/promises.md.
promises: $(TEST_READY)
	@./tests/faults/install_libfaketime
	@FAULTS=1 $(BIN)/python -m pytest -m promise --promises $(ARGS)

lint: $(TEST_READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/dg check defs

bench: $(TEST_READY)
	@$(BIN)/python benchmarks/demo.py $(ARGS)

clean:
	rm -rf $(VENV) .clip_assets

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed. Choose one with: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(DEMO_READY): $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing (torch is large; the first time takes a few minutes)"
	@$(PIP) install --quiet --progress-bar on -c constraints.txt -e '.[all]'
	@touch $@

$(TEST_READY): $(DEMO_READY)
	@echo "Installing what the tests need"
	@$(PIP) install --quiet -c constraints.txt -e '.[all,test]'
	@touch $@
