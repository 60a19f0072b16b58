# make demo: run the demo. make test: pass the tests, with the core compiled and interpreted. Both set up all they need in .venv/.
PYTHON ?= python3
SECONDS ?= 10
PORT ?= 9464
SOURCES := $(shell find metrics_sdk integrations -name '*.py') pyproject.toml hatch_build.py
COMPILED := .venv/compiled/bin
INTERPRETED := .venv/interpreted/bin

.PHONY: demo test lint bench bench-quick bench-freethreaded catalogue matrix soak planted fuzz compare servers clean

demo: .venv/compiled/.installed
	$(COMPILED)/python -P -m metrics_sdk demo --seconds $(SECONDS) --port $(PORT)

# The explorer explores a copy of the interpreted core, whichever build is installed: once is enough.
# Two at a time, for much of it waits, but what measures processor time.
SIDE_BY_SIDE := -n 2 --dist worksteal --ignore tests/test_parallelism.py
test: .venv/compiled/.tested .venv/interpreted/.tested
	$(COMPILED)/pytest tests/test_parallelism.py
	$(INTERPRETED)/pytest tests/test_parallelism.py
	$(COMPILED)/pytest $(SIDE_BY_SIDE) --ignore tests/explorer
	$(INTERPRETED)/pytest $(SIDE_BY_SIDE)

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

# The catalogue of faults: what docs/guarantees.md promises. Reduced, with the core compiled; and at full size on every interpreter
# there is, compiled and interpreted, and free-threaded: an hour or two.
PYTHONS ?= python3.11 python3.12 python3.13
FREETHREADED ?= $$(tools/python-freethreaded .cache/python-freethreaded)
catalogue: .venv/compiled/.tested
	$(COMPILED)/pytest -n 2 tests/catalogue

matrix: .venv/compiled/.tested servers
	METRICS_SDK_REQUIRE_SERVERS=1 $(COMPILED)/python tests/catalogue/matrix.py --python $(PYTHONS) --freethreaded "$(FREETHREADED)"

# Half an hour of everything at once: threads, signals, forks, failing exporters, jumping clocks, changes.
SOAK_SECONDS ?= 1800
soak: .venv/compiled/.tested
	$(COMPILED)/python tests/soak/soak.py --seconds $(SOAK_SECONDS)

# Plants bugs into copies of the package, and shows which test each of them turns red.
planted: .venv/compiled/.tested
	$(COMPILED)/python tests/planted/prove.py

# Hostile input to every encoder, read back by parsers of others, with both engines.
FUZZ_SECONDS ?= 600
fuzz: .venv/interpreted/.tested
	$(INTERPRETED)/python tests/fuzz/fuzz.py --engine hypothesis --seconds $(FUZZ_SECONDS)
	$(INTERPRETED)/pip install --quiet --disable-pip-version-check atheris==3.0.0
	$(INTERPRETED)/python tests/fuzz/fuzz.py --engine atheris --seconds $(FUZZ_SECONDS)

# The cases that have a counterpart there with the libraries of others; writes the table of docs/guarantees.md.
compare: .venv/compiled/.benched .venv/compiled/.tested
	$(COMPILED)/python tests/catalogue/compare.py --write docs/guarantees.md

# Real servers for the tests that use these: Prometheus with promtool, VictoriaMetrics, a Pushgateway and Redis, and wrk, by Debian's
# package tools, with libraries of their own, and StatsD, by npm.
servers:
	tools/debian13 .cache/prometheus prometheus promtool victoria-metrics prometheus-pushgateway
	tools/debian13 .cache/hosts wrk libluajit-5.1-2 redis-server redis-tools libc6 libstdc++6 libgcc-s1 libatomic1 liblzf1 \
	  libjemalloc2 libsystemd0 libssl3t64 libcap2 libgcrypt20 liblzma5 libzstd1 liblz4-1 libgpg-error0 zlib1g
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
