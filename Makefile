# make env | demo | test | lint | format | faults | faults-report | soak | bench | wheel | testbed-up | testbed-down | clean
PYTHON ?= python3
VENV ?= .venv
PY = $(VENV)/bin/python
TESTBED = $(PY) tests/testbed
PYTEST_ARGS ?=

.PHONY: env demo test lint format faults faults-report soak bench wheel testbed-up testbed-down clean

env: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; sys.exit("jobferry needs Python 3.10 or newer: make PYTHON=/path/to/python") if sys.version_info < (3, 10) else None'
	@echo "making the environment in $(VENV) (a minute)"
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@for try in 1 2 3; do $(PY) -m pip install -q --disable-pip-version-check -e '.[test,keyring,wire]' && break; \
	  test $$try = 3 && exit 1; echo "pip failed, trying again" >&2; sleep $$((try * 5)); done
	@touch $@

demo: env
	@.ci/demo $(PY)

test: env
	@.ci/test $(PY) $(PYTEST_ARGS)

lint: env
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy project api_srv
	$(VENV)/bin/lint-imports --no-cache
	$(VENV)/bin/vermin -q --no-tips --violations -t=3.6- project/core project/agent

format: env
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# The fault suite alone (it is part of `make test` where the testbed runs), and its table in docs/reliability.md.
FIGURES = build/faults.jsonl
faults: env
	@mkdir -p build && rm -f $(FIGURES)
	@JOBFERRY_FAULTS_FIGURES=$(CURDIR)/$(FIGURES) .ci/test $(PY) tests/faults $(PYTEST_ARGS)

faults-report: env
	$(PY) tests/faults/report.py $(FIGURES) docs/reliability.md docs/soak.json

soak: env
	@.ci/soak $(PY) --out docs/soak.json

bench: env
	@$(PY) benchmarks

wheel: env
	@.ci/wheel $(PY)

testbed-up: env
	$(TESTBED) up

testbed-down: env
	$(TESTBED) down

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .hypothesis
