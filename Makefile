# make demo   a closed loop on a virtual board, recorded        make lint   style, types, layers
# make test   all tests                                         make bench  speed, beside its peers
# make test-quick   unit tests without what only the others need: no Debian packages, no rig
# make soak   an hour of cameras, a board and all recorders: nothing lost, memory flat
# make firmware   our Firmata firmware for Uno, Mega and Leonardo (Debian: gcc-avr avr-libc arduino-core-avr)
# make site   the documentation as a searchable site: build/site
# make lock   newest releases of all dependencies into .ci/lock    make dist   wheel and sdist, checked
# make audit   the locked releases, compared with known advisories
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-quick lint bench soak firmware lock audit dist site clean

BIN := .venv/bin
SETUP = PYTHON="$(PYTHON)" .ci/setup.sh
WORKERS = $(shell n=$$(nproc); echo $$((n < 4 ? n + 1 : 5)))
RUNS = $(shell n=$$(nproc); echo $$((n < 4 ? 3 * n : 12)))
# Without its byte code each pytest would compile all tests again, and each bench all of mlink.
unexport PYTHONDONTWRITEBYTECODE

help:
	@sed -n 's/^# //p' Makefile

setup:
	@$(SETUP) test

demo:
	@$(SETUP) demo
	@$(BIN)/mlink run hil/benches/led-follows-button/bench.toml --for 10

test: setup
	@.ci/test.sh $(WORKERS) $(RUNS)

test-quick:
	@$(SETUP) quick
	@$(BIN)/pytest -n $(WORKERS) -m "not long and not real_time and not rig and not edlio" tests/unit

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python tests/benchmarks/run_all.py

soak: setup
	$(BIN)/python -m tests.benchmarks.long.soak --minutes 60

lock:
	@PYTHON="$(or $(PYTHON),python3)" .ci/lock.sh

audit:
	@"$(or $(PYTHON),python3)" .ci/audit.py

dist: setup
	@$(BIN)/python .ci/dist.py

site: .venv-site/ready
	@NO_MKDOCS_2_WARNING=1 .venv-site/bin/mkdocs build --quiet && echo "build/site is ready; to read and search it: python3 -m http.server -b 127.0.0.1 -d build/site"

.venv-site/ready: .ci/lock/site.txt
	@rm -rf .venv-site && "$(or $(PYTHON),python3)" -m venv .venv-site
	@.venv-site/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r $<
	@touch $@

firmware:
	@$(MAKE) --no-print-directory -C firmware

clean:
	rm -rf .venv .venv-edlio .venv-site .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks \
		.import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
