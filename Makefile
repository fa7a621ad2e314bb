# Everything a newcomer needs: `make demo` runs the floor, `make test` runs the tests. Both set themselves up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo test check lint format bench docs fixtures prove clean setup

help: ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(READY) ## make the virtual environment (done by the others when needed)

# The stamp is newer than pyproject.toml once everything in it is installed, so the second time costs nothing.
$(READY): pyproject.toml
	@echo "==> setting up $(VENV) (once, about a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: apt-get install python3-venv"; exit 1; }
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Mallard needs Python 3.11 or newer: make PYTHON=python3.11 ..."; exit 1; }
	@echo "==> installing Mallard and what it stands on"
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on -q -e '.[test]'
	@touch $(READY)

demo: $(READY) ## the whole product on a recorded Saturday, offline
	@exec $(BIN)/mallard demo $(ARGS)

test: $(READY) ## every test, with real sockets and a real browser
	@sh tests/find_browser.sh
	@$(BIN)/python -m pytest -n 2 --durations=20 --ignore=tests/browser $(ARGS)
	@$(BIN)/python -m pytest tests/browser

check: $(READY) lint ## the inner loop: lint, types and core tests, under a minute
	@$(BIN)/python -m pytest -q tests/core tests/dispatch tests/test_architecture.py

lint: $(READY) ## ruff and mypy --strict
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(READY) ## let ruff put the code in shape
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(READY) ## what it costs, beside its peers in the same run: ARGS="--quick --only transport --json FILE"
	@$(BIN)/python -c 'import picows, redis, hiredis' 2>/dev/null || $(BIN)/python -m pip install --disable-pip-version-check -q -e '.[bench]' || echo "bench: picows and redis cannot be installed; their rows will say so"
	@$(BIN)/python -m tests.bench $(ARGS)

prove: $(READY) ## all long evidence: faults, kills, power cuts, simulation, soak (ARGS=--short: the setting of .ci/run)
	@$(BIN)/python -m tests.prove $(ARGS)

docs: $(READY) ## write the machine-readable contracts (OpenAPI, AsyncAPI, JSON Schema) to build/docs
	@$(BIN)/python -m dashboard.api build/docs

fixtures: $(READY) ## make the recorded fixtures again, from their seeds
	@for story in saturday-rush two-malls bad-day; do $(BIN)/mallard simulate --story $$story --out fixtures/$$story.ndjson.zst || exit 1; done

clean: ## remove the environment and caches
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
