# make demo: run the demo. make test: pass the tests, with the core compiled and interpreted. Both set up all they need in .venv/.
PYTHON ?= python3
SECONDS ?= 10
PORT ?= 9464
SOURCES := $(shell find metrics_sdk integrations -name '*.py') pyproject.toml hatch_build.py
COMPILED := .venv/compiled/bin
INTERPRETED := .venv/interpreted/bin

.PHONY: demo test lint bench bench-quick bench-freethreaded soak servers clean

demo: .venv/compiled/.installed
	$(COMPILED)/python -P -m metrics_sdk demo --seconds $(SECONDS) --port $(PORT)

# The explorer explores a copy of the interpreted core, whichever build is installed: once is enough.
test: .venv/compiled/.tested .venv/interpreted/.tested
	$(COMPILED)/pytest --ignore tests/explorer
	$(INTERPRETED)/pytest

lint: .venv/compiled/.tested
	$(COMPILED)/ruff check .
	$(COMPILED)/ruff format --check .
	$(COMPILED)/mypy

bench: .venv/compiled/.benched
	$(COMPILED)/python benchmarks/run_all.py --write README.md

bench-quick: .venv/compiled/.benched
	$(COMPILED)/python benchmarks/run_all.py --quick

# What threads and shards do where there is no GIL, interpreted. Builds that interpreter if need be, with pyenv and apt.
bench-freethreaded: .venv/freethreaded/.benched
	.venv/freethreaded/bin/python benchmarks/threads.py
	.venv/freethreaded/bin/python benchmarks/shards.py

# Conservation, re-entrancy, windows against a model, and processes that are killed, at full size: some minutes.
FULL_SIZE := METRICS_SDK_RECORDS=500000 METRICS_SDK_SECONDS=20 METRICS_SDK_OPERATIONS=60000 METRICS_SDK_KILLS=200
SOAKED := tests/test_conservation.py tests/test_reentrancy.py tests/test_windows.py tests/test_sqlite.py
soak: .venv/compiled/.tested .venv/interpreted/.tested
	$(FULL_SIZE) $(COMPILED)/pytest $(SOAKED)
	$(FULL_SIZE) $(INTERPRETED)/pytest $(SOAKED)

# Real servers for the tests that use these: Prometheus with promtool, VictoriaMetrics and a Pushgateway, by Debian's package
# tools, and StatsD, by npm.
servers:
	tools/debian13 .cache/prometheus prometheus promtool victoria-metrics prometheus-pushgateway
	[ -d .cache/statsd/node_modules/statsd ] || npm install --silent --no-audit --no-fund --prefix .cache/statsd statsd@0.9.0

clean:
	rm -rf .venv .cache build dist

.venv/compiled/.installed: $(SOURCES)
	$(PYTHON) -m venv .venv/compiled
	$(COMPILED)/pip install --quiet --disable-pip-version-check --force-reinstall .
	@$(COMPILED)/python -I -c 'import metrics_sdk; print("core compiled:", metrics_sdk.health().compiled)'
	touch $@

.venv/interpreted/.installed: $(SOURCES)
	$(PYTHON) -m venv .venv/interpreted
	METRICS_SDK_INTERPRETED=1 $(INTERPRETED)/pip install --quiet --disable-pip-version-check --force-reinstall .
	touch $@

.venv/freethreaded/.benched: $(SOURCES)
	"$$(tools/python-freethreaded .cache/python-freethreaded)" -m venv .venv/freethreaded
	.venv/freethreaded/bin/pip install --quiet --disable-pip-version-check --force-reinstall . prometheus-client==0.26.0
	touch $@

.venv/%/.tested: .venv/%/.installed
	.venv/$*/bin/pip install --quiet --disable-pip-version-check 'metrics-sdk[test]'
	touch $@

.venv/compiled/.benched: .venv/compiled/.installed
	$(COMPILED)/pip install --quiet --disable-pip-version-check 'metrics-sdk[benchmark]'
	touch $@
