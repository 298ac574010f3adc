# make demo    sets up the runtime, analyses a bundled sample, writes reports/demo.html       (< 2 min on a fresh Debian)
# make test    installs what the tests need (as root, with apt), checks and tests everything
# The other targets: check oracle samples reference lab bench golden wheel clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SAMPLE ?= pod-route-missing
CASE = samples/$(SAMPLE)
DEBIAN := iproute2 iptables nftables ipset conntrack tcpdump bird2 busybox-static mksh dash bash shellcheck chromium \
	tshark ethtool zstd xz-utils procps psmisc util-linux kmod
APT := DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300
PIP := PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check

.PHONY: demo test check system dev oracle samples reference lab bench golden wheel clean
.DEFAULT_GOAL := demo

demo: $(VENV)/.runtime
	@mkdir -p reports
	@code=0; $(BIN)/lasthop analyze $(CASE)/*.tar.* $(QUESTION) --html reports/demo.html || code=$$?; \
	case $$code in 0|1|3) echo; echo "The page: $(CURDIR)/reports/demo.html" ;; *) exit $$code ;; esac

test: check
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

check: dev
	$(BIN)/ruff check analyzer tests
	$(BIN)/mypy
	shellcheck -s sh collector.sh

dev: system $(VENV)/.dev

oracle: dev
	$(BIN)/python -m tests.oracle.run
	$(BIN)/python -m tests.oracle.routing.compare --cases 500

samples: dev
	$(BIN)/python -m tests.lab.samples

reference: dev
	$(BIN)/python -m tests.reference.score

lab: dev
	$(BIN)/python -m pytest tests/lab

bench: dev
	$(BIN)/python -m tests.bench.run

golden: dev
	$(BIN)/python -m tests.report.golden

wheel: $(VENV)/.dev
	$(BIN)/python -m build --wheel --no-isolation --outdir dist

clean:
	rm -rf dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find analyzer tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The Python that makes the environment: $(PYTHON) when it is new enough, else the newest of the usual names.
$(VENV)/bin/python:
	@python=; for one in $(PYTHON) python3.14 python3.13 python3.12 python3.11; do \
	    if $$one -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$one; break; fi; \
	done; \
	[ -n "$$python" ] || { echo "lasthop needs Python 3.11 or newer; none was found. PYTHON=... names one." >&2; exit 1; }; \
	if ! $$python -c 'import venv, ensurepip' 2>/dev/null; then \
	    if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	        $(APT) install -qq -y --no-install-recommends python3-venv >/dev/null || \
	            { $(APT) update -qq && $(APT) install -qq -y --no-install-recommends python3-venv >/dev/null; }; \
	    else \
	        echo "$$python cannot make virtual environments: install python3-venv (apt-get install python3-venv)." >&2; \
	        exit 1; \
	    fi; \
	fi; \
	rm -rf $(VENV); $$python -m venv $(VENV)

$(VENV)/.runtime: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing lasthop and its libraries into $(VENV)"
	@$(PIP) -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.runtime

# Debian's tools for the tests: installed as root, else named. `need` in tests/conftest.py skips what cannot run without.
system:
	@command -v dpkg-query >/dev/null || exit 0; \
	missing=; for one in $(DEBIAN); do \
	    dpkg-query -W -f '$${Status}' $$one 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$one"; \
	done; \
	command -v kubectl >/dev/null || missing="$$missing kubernetes-client"; \
	[ -n "$$missing" ] || exit 0; \
	if [ "$$(id -u)" = 0 ]; then \
	    echo "Installing$$missing"; \
	    $(APT) update -qq && $(APT) install -qq -y --no-install-recommends $$missing >/dev/null; \
	else \
	    echo "Not installed:$$missing. Tests that need them are skipped (apt-get install$$missing)." >&2; \
	fi
