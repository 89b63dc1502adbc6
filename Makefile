# Requires make, Python 3.11 or newer, and the package index that pip is configured for.
#
# Everything is installed in .venv: pip installs uv, and uv creates one environment per Airflow
# minor version. .ci/requirements/airflow-X.Y.txt pins every package, so two runs of a commit test
# the same thing. The package index comes from the machine's settings; no file here names one.

PYTHON ?= python3
# Of the tests. They mostly wait, for Airflow, a timeout, a browser, so two cores can run three.
PROCESSES ?= 3
MINORS := 2.11 3.0 3.1 3.2 3.3
MAIN := 3.3

UV := .venv/uv/bin/uv
ENV := .venv/airflow-$(MAIN)
READY := $(ENV)/ready
BIN := $(ENV)/bin
SITE ?= .site
SOURCES := airflow_provider_buildpixel example_dags tests

.DELETE_ON_ERROR:
.PHONY: demo test coverage bench bench-waits bench-downloads chaos cluster fuzz simulate compat audit
.PHONY: sbom lint types docs dist requirements clean
.SECONDARY:

demo: $(READY)  ## run the release pipeline on a real Airflow; KEEP=1 keeps it running
	$(BIN)/python -m airflow_provider_buildpixel.sandbox demo $(if $(KEEP),--keep)

test: $(READY)  ## run all tests, in three processes; ARGS="…" is passed to pytest
	$(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder $(ARGS)

# The test folders that mirror the package; tests that need I/O are in `integration` in each.
UNIT := $(addprefix tests/,api asset_events builds channel downloads page waits)

coverage: $(READY)  ## check that tests without I/O cover every branch of the pure modules
	$(BIN)/python -m pytest $(UNIT) --ignore-glob '*/integration' --ignore-glob '*/test_mutants.py' --numprocesses $(PROCESSES) --cov --cov-report=term $(ARGS)

bench: bench-waits bench-downloads  ## measure waits and downloads, and write the pages in docs/benchmarks

bench-waits: .venv/bench/ready  ## many waits in one event loop; ARGS="--n 1000 --quick" for a short run
	.venv/bench/bin/python -m tests.bench.waits $(or $(ARGS),--write docs/benchmarks/waits.md)

bench-downloads: $(READY)  ## downloads compared with curl; ARGS="--size 256 --rounds 1" for a short run
	$(BIN)/python -m tests.bench.download $(or $(ARGS),--write docs/benchmarks/downloads.md)

fuzz: .venv/fuzz/ready  ## fuzz every decoder for some seconds each; ARGS="--seconds 60 archive"
	.venv/fuzz/bin/python -m tests.fuzz $(ARGS)

simulate: $(READY)  ## random schedules of tasks, users and faults on simulated time; ARGS="--schedules 1000 --seed 7"
	AIRFLOW_HOME=$(abspath .venv)/simulation AIRFLOW__CORE__LOAD_EXAMPLES=False \
	  $(BIN)/python -m tests.simulation $(or $(ARGS),--schedules 1000000 --write docs/simulation.md)

chaos: $(READY) .venv/bench/ready  ## every fault in every phase, other providers, a long run; takes half an hour
	$(BIN)/python -m tests.chaos --write docs/chaos.md
	.venv/bench/bin/python -m tests.chaos.peers --write docs/chaos.md
	$(BIN)/python -m tests.chaos.long_run --write docs/chaos.md

COMPAT := tests/api tests/builds tests/channel tests/waits tests/page tests/hooks tests/tasks tests/packaging tests/golden
# Older Airflow versions emit deprecation warnings about themselves on every import.
COMPAT_PYTEST := -m pytest $(COMPAT) -W ignore::DeprecationWarning -W ignore::FutureWarning $(ARGS)

compat: $(patsubst %,compat-%,$(MINORS)) compat-lowest  ## test behaviour on every Airflow, and with the lowest dependencies

compat-lowest: .venv/lowest/ready
	.venv/lowest/bin/python $(COMPAT_PYTEST)

compat-%: .venv/airflow-%/ready
	.venv/airflow-$*/bin/python $(COMPAT_PYTEST)

audit: .venv/audit/ready  ## run bandit, zizmor and pip-audit; pip-audit needs an advisory service
	.venv/audit/bin/bandit --quiet --recursive --configfile pyproject.toml airflow_provider_buildpixel example_dags
	if [ -d .github ]; then .venv/audit/bin/zizmor --offline .; else echo "zizmor: no workflows"; fi
	.venv/audit/bin/pip-audit --strict --disable-pip --no-deps --requirement .ci/requirements/airflow-$(MAIN).txt

sbom: .venv/audit/ready $(READY)  ## write a CycloneDX bill of materials of the pinned environment
	mkdir -p dist
	.venv/audit/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	  --output-file dist/sbom.json $(ENV)

cluster: .venv/cluster/ready  ## kill the processes of an Airflow on PostgreSQL and Celery; ARGS="--quick" for a short run
	.venv/cluster/bin/python -m tests.cluster $(or $(ARGS),--write docs/cluster.md)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(READY)
	$(BIN)/mypy

docs: $(READY)  ## build the site into $(SITE); every warning is an error
	$(BIN)/sphinx-build --quiet --fresh-env --write-all --fail-on-warning --keep-going --builder html docs $(SITE)

dist: $(READY)  ## build the release: the sdist, and the wheel from the sdist
	rm -rf dist
	$(UV) build --quiet --no-build-isolation --python $(BIN)/python --out-dir dist

requirements: .venv/uv/ready  ## compile the pinned requirements again
	for minor in $(MINORS); do \
	  echo "apache-airflow==$$minor.*" | $(UV) pip compile --quiet --upgrade --universal \
	    --python-version 3.11 --no-header --no-annotate --no-emit-index-url --group dev \
	    $$(test $$minor != $(MAIN) || echo --extra sandbox --group main) \
	    --output-file .ci/requirements/airflow-$$minor.txt pyproject.toml - ; \
	done
	echo "apache-airflow==$(MAIN).*" | $(UV) pip compile --quiet --upgrade --universal \
	  --python-version 3.11 --no-header --no-annotate --no-emit-index-url --extra sandbox \
	  --group build --group cluster --constraints .ci/requirements/airflow-$(MAIN).txt \
	  --output-file .ci/requirements/cluster.txt pyproject.toml -

clean:
	rm -rf .venv .site dist .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache

.venv/uv/ready: .ci/requirements/uv.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer, please")'
	$(PYTHON) -m venv --clear .venv/uv
	.venv/uv/bin/python -m pip install --quiet -r $<
	touch $@

.venv/audit/ready: .ci/requirements/airflow-$(MAIN).txt pyproject.toml .venv/uv/ready
	$(UV) venv --quiet --allow-existing --python .venv/uv/bin/python $(@D)
	$(UV) pip install --quiet --python $(@D) --constraint $< --group audit
	touch $@

.venv/bench/ready .venv/fuzz/ready: .venv/%/ready: \
    .ci/requirements/airflow-$(MAIN).txt pyproject.toml .venv/uv/ready
	$(UV) venv --quiet --allow-existing --python .venv/uv/bin/python $(@D)
	$(UV) pip install --quiet --python $(@D) --compile-bytecode -r $< --group $*
	$(UV) pip install --quiet --python $(@D) --no-deps --no-build-isolation --editable .
	touch $@

.venv/lowest/ready: .ci/requirements/lowest.txt pyproject.toml .venv/uv/ready
	$(UV) venv --quiet --allow-existing --python .venv/uv/bin/python $(@D)
	$(UV) pip sync --quiet --python $(@D) --compile-bytecode $<
	$(UV) pip install --quiet --python $(@D) --no-deps --no-build-isolation --editable .
	touch $@

.venv/cluster/ready: .ci/requirements/cluster.txt pyproject.toml .venv/uv/ready
	$(UV) venv --quiet --allow-existing --python .venv/uv/bin/python $(@D)
	$(UV) pip sync --quiet --python $(@D) --compile-bytecode $<
	$(UV) pip install --quiet --python $(@D) --no-deps --no-build-isolation --editable .
	touch $@

# The project is installed in editable mode: source changes need no new installation.
.venv/airflow-%/ready: .ci/requirements/airflow-%.txt pyproject.toml .venv/uv/ready
	$(UV) venv --quiet --allow-existing --python .venv/uv/bin/python $(@D)
	$(UV) pip sync --quiet --python $(@D) --compile-bytecode $<
	$(UV) pip install --quiet --python $(@D) --no-deps --no-build-isolation --editable .
	touch $@
