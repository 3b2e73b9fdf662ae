PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed
# The first pip that knows dependency groups.
PIP := pip>=25.1
PYTEST_ARGS ?=
# Tests wait more than they compute.
JOBS := $(shell echo $$((2 * $$(nproc))))

COVERAGE_VENV := .venv-coverage
CONFORMANCE_VENV := .venv-conformance
CONFORMANCE_ARGS ?=
BENCH_ARGS ?= --write
BUSY_ARGS ?= --write
CRASH_ARGS ?=
CHAOS_ARGS ?=
FUZZ_ARGS ?=
BROWSERS_ARGS ?=

.PHONY: test-macos test-windows help demo demo-busy demo-crash demo-distributed demo-scrapyd matrix package pictures reference docs next samples test test-fast coverage conformance browsers odd-responses bench chaos fuzz soak lint format clean

help:
	@echo "make demo    crawl the example's flaky origin, with a live log, stats and a summary"
	@echo "make demo-busy  what busy callbacks do to handshakes, with each handler (half an hour)"
	@echo "make demo-crash  a crash in native code in the middle of a crawl, with each handler"
	@echo "make demo-distributed  two crawls on one queue in Redis (needs redis-server)"
	@echo "make demo-scrapyd  a Scrapyd runs the crawl"
	@echo "make test    the test suite (some minutes)"
	@echo "make test-fast  the tests that start no crawl and no worker"
	@echo "make test-windows  tests with a Windows Python under Wine (installs Debian's, as root)"
	@echo "make test-macos  the fast tests, and crawls, without what macOS does not have"
	@echo "make coverage  the test suite with branch coverage of all processes"
	@echo "make conformance  the table in docs/conformance.md: every handler, the same probes"
	@echo "make browsers  records Chromium and Firefox, and compares every handler with them"
	@echo "make scrapy-suite  the Scrapy team's tests of download handlers, on this one"
	@echo "make odd-responses  docs/odd_responses.md: this handler and Scrapy's own compared"
	@echo "make bench   how fast every handler is (BENCH_ARGS=--quick; needs nginx and tinyproxy)"
	@echo "make next    the fast tests and some crawls, with pre-releases and with a fork of curl_cffi"
	@echo "make matrix  each Python, Scrapy and curl_cffi with each other (an hour)"
	@echo "make docs    build the documentation in docs/_build; warnings are errors"
	@echo "make reference  write docs/reference.md and the picture of the modules from the code"
	@echo "make pictures  docs/*.svg and report.png: what doctor, probe and a report show"
	@echo "make samples  the log, the stats and the summary of a demo on the pages"
	@echo "make package build and check the wheel and the sdist"
	@echo "make chaos   20,000 requests while workers are killed (CHAOS_ARGS='--seed 1')"
	@echo "make fuzz    ten million broken frames for the frame decoder"
	@echo "make soak    the slow tests: hundreds of thousands of requests"
	@echo "make lint    ruff, mypy --strict, import-linter and codespell"
	@echo "make format  let ruff format the code"
	@echo "make clean   remove everything that the other targets made"

$(INSTALLED): pyproject.toml scrapy_curl_safe/_version.py
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade '$(PIP)'
	$(VENV)/bin/python -m pip install --quiet --group test --group lint --editable .
	touch $@

demo: $(INSTALLED)
	$(VENV)/bin/python example_project/demo.py

demo-busy: $(CONFORMANCE_VENV)/.installed
	$(CONFORMANCE_VENV)/bin/python -m benchmarks.busy $(BUSY_ARGS)

demo-crash: $(CONFORMANCE_VENV)/.installed
	$(CONFORMANCE_VENV)/bin/python -m benchmarks.crash $(CRASH_ARGS)

demo-distributed: $(INSTALLED)
	$(VENV)/bin/python example_project/demo_distributed.py

demo-scrapyd: $(INSTALLED)
	$(VENV)/bin/python example_project/demo_scrapyd.py

test: $(INSTALLED)
	$(VENV)/bin/python -m pytest -n $(JOBS) -m "not slow" $(PYTEST_ARGS)

test-fast: $(INSTALLED)
	$(VENV)/bin/python -m pytest -n $(JOBS) -m "not slow and not processes" $(PYTEST_ARGS)

WINDOWS_VENV := .venv-windows
# Whole crawls, and of the tests without processes those of what runs in both processes.
WINDOWS_TESTS := $(addprefix tests/test_,windows.py other_systems.py framing.py loop.py messages.py \
	selector_thread.py)

$(WINDOWS_VENV)/.installed: pyproject.toml testkit/windows/setup.sh
	testkit/windows/setup.sh $(WINDOWS_VENV)
	touch $@

test-windows: $(WINDOWS_VENV)/.installed
	$(WINDOWS_VENV)/python -m pytest -n 2 $(WINDOWS_TESTS) $(PYTEST_ARGS)

MACOS_VENV := .venv-macos

$(MACOS_VENV)/.installed: $(INSTALLED) testkit/macos/setup.sh
	testkit/macos/setup.sh $(MACOS_VENV) $(VENV)/bin/python
	touch $@

test-macos: $(MACOS_VENV)/.installed
	$(MACOS_VENV)/bin/python -m pytest -n $(JOBS) -m "not slow and not processes" $(PYTEST_ARGS)
	$(MACOS_VENV)/bin/python -m pytest -n $(JOBS) -m processes tests/test_macos.py \
		tests/test_other_systems.py $(PYTEST_ARGS)

# A virtual environment of its own: each worker that it starts measures itself.
$(COVERAGE_VENV)/.installed: pyproject.toml scrapy_curl_safe/_version.py tests/worker_coverage.py
	$(PYTHON) -m venv $(COVERAGE_VENV)
	$(COVERAGE_VENV)/bin/python -m pip install --quiet --upgrade '$(PIP)'
	$(COVERAGE_VENV)/bin/python -m pip install --quiet --group test --editable .
	$(COVERAGE_VENV)/bin/python tests/worker_coverage.py install
	touch $@

# The report comes also after tests that failed, but the failure is that of make.
coverage: $(COVERAGE_VENV)/.installed
	rm -f .coverage .coverage.*
	$(COVERAGE_VENV)/bin/coverage run -m pytest -n $(JOBS) -m "not slow" $(PYTEST_ARGS); \
	status=$$?; \
	$(COVERAGE_VENV)/bin/python tests/worker_coverage.py collect && \
	$(COVERAGE_VENV)/bin/coverage combine --quiet && \
	$(COVERAGE_VENV)/bin/coverage report && \
	exit $$status

# Without their own dependencies: some ask for a curl_cffi newer than others take.
$(CONFORMANCE_VENV)/.installed: pyproject.toml scrapy_curl_safe/_version.py
	$(PYTHON) -m venv $(CONFORMANCE_VENV)
	$(CONFORMANCE_VENV)/bin/python -m pip install --quiet --upgrade '$(PIP)'
	$(CONFORMANCE_VENV)/bin/python -m pip install --quiet --group test --group bench --editable . \
		colorama nodriver wreq
	$(CONFORMANCE_VENV)/bin/python -m pip install --quiet --no-deps \
		scrapy-download-handlers-incubator==0.7.0 scrapy-impersonate==1.10.1 \
		scrapy-curl==0.2.1 scrapy-curl-cffi==0.3.1 scrapy-stealth==1.0.1
	touch $@

conformance: $(CONFORMANCE_VENV)/.installed
	$(CONFORMANCE_VENV)/bin/python -m conformance $(CONFORMANCE_ARGS)

# Installs Debian's browsers, for which it must be root; BROWSERS_ARGS=--stored starts none.
browsers: $(CONFORMANCE_VENV)/.installed
	$(CONFORMANCE_VENV)/bin/python -m browsers $(BROWSERS_ARGS)

SUITE_VENV := .venv-scrapy-suite
SUITE_ARGS ?=

$(SUITE_VENV)/.installed: pyproject.toml scrapy_curl_safe/_version.py scrapy_suite/install.sh
	PYTHON=$(PYTHON) scrapy_suite/install.sh $(SUITE_VENV)
	touch $@

.PHONY: scrapy-suite
scrapy-suite: $(SUITE_VENV)/.installed
	$(SUITE_VENV)/bin/python -m scrapy_suite $(SUITE_ARGS)

odd-responses: $(INSTALLED)
	$(VENV)/bin/python -m conformance.responses

bench: $(CONFORMANCE_VENV)/.installed
	$(CONFORMANCE_VENV)/bin/python -m benchmarks.speed $(BENCH_ARGS)

NEXT_VENV := .venv-next
# The fast tests, whole crawls, and what depends on curl_cffi's targets.
NEXT_TESTS = $(NEXT_VENV)/bin/python -m pip list --format=freeze | grep -iE '^(scrapy|twisted|curl.cffi)' && \
	$(NEXT_VENV)/bin/python -m pytest -n $(JOBS) -m "not slow and not processes" && \
	$(NEXT_VENV)/bin/python -m pytest -n $(JOBS) tests/test_targets.py tests/test_installed_browsers.py \
		tests/test_crawl.py

# From nothing each time, since the index has others each day.
next:
	rm -rf $(NEXT_VENV)
	$(PYTHON) -m venv $(NEXT_VENV)
	$(NEXT_VENV)/bin/python -m pip install --quiet --upgrade '$(PIP)'
	$(NEXT_VENV)/bin/python -m pip install --quiet --group test --editable .
	$(NEXT_VENV)/bin/python -m pip install --quiet --pre --upgrade scrapy twisted curl_cffi
	$(NEXT_TESTS)
	$(NEXT_VENV)/bin/python -m pip uninstall --quiet --yes curl_cffi
	$(NEXT_VENV)/bin/python -m pip install --quiet --pre curl-cffi-fingerprints
	$(NEXT_TESTS)

# Where Debian's testing suite is installed for the Pythons that this system may lack, as root.
NEWER_PYTHONS ?= /var/tmp/forky

matrix: $(INSTALLED)
	$(VENV)/bin/python -m pip install --quiet --group matrix
	rm -f $(VENV)/matrix*.json
	$(VENV)/bin/nox --report $(VENV)/matrix.json; \
	command -v python3.15 > /dev/null || \
		testkit/newer_pythons.sh $(NEWER_PYTHONS) $(VENV)/matrix-newer.json; \
	$(VENV)/bin/python docs/versions.py $(VENV)/matrix*.json

pictures: $(INSTALLED)
	PYTHONPATH=. $(VENV)/bin/python docs/pictures.py

samples: $(INSTALLED)
	$(VENV)/bin/python docs/samples.py

reference: $(INSTALLED)
	$(VENV)/bin/python docs/reference.py
	$(VENV)/bin/python docs/curl_codes.py
	$(VENV)/bin/python docs/architecture.py

docs: $(INSTALLED)
	$(VENV)/bin/python -m pip install --quiet --group docs
	$(VENV)/bin/sphinx-build --fail-on-warning --keep-going --quiet docs docs/_build

package: $(INSTALLED)
	$(VENV)/bin/python -m pip install --quiet --group package
	rm -rf dist
	$(VENV)/bin/python -m build
	$(VENV)/bin/twine check --strict dist/*
	$(VENV)/bin/check-wheel-contents dist/*.whl
	$(VENV)/bin/pyroma --min=10 .

chaos: $(INSTALLED)
	$(VENV)/bin/python -m tests.chaos $(CHAOS_ARGS)

fuzz: $(INSTALLED)
	$(VENV)/bin/python -m tests.fuzz_framing $(FUZZ_ARGS)

soak: $(INSTALLED)
	$(VENV)/bin/python -m pytest -m slow $(PYTEST_ARGS)

lint: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy --platform darwin --cache-dir .mypy_cache/macos -m scrapy_curl_safe._platform.macos
	$(VENV)/bin/mypy --platform win32 --cache-dir .mypy_cache/windows -m scrapy_curl_safe._platform.windows
	$(VENV)/bin/lint-imports --no-cache
	$(VENV)/bin/codespell

format: $(INSTALLED)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:
	rm -rf $(SUITE_VENV)
	rm -rf $(VENV) $(MACOS_VENV) $(WINDOWS_VENV) $(NEXT_VENV) $(CONFORMANCE_VENV) $(COVERAGE_VENV) .coverage* dist docs/_build .nox .pytest_cache .mypy_cache .ruff_cache .hypothesis
