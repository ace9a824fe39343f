# `make demo` and `make test` do all the set-up that a fresh machine with Python >= 3.10 and make needs.
PYTHON ?= python3
# Numbers on few cores: one thread per process, one process per core.
WORKERS ?= 2
export OMP_NUM_THREADS ?= 1

venv := .venv
python := $(venv)/bin/python
# Written last, so a set-up that was interrupted is never taken as good.
installed := $(venv)/.installed
pip := $(python) -m pip --disable-pip-version-check install -c constraints.txt

define lint
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m mypy
endef
# Each worker goes through its own half in order, so that what one file shares is made once; who is through first takes
# half of what the other has left.
pytest := $(python) -m pytest -n $(WORKERS) --dist worksteal

.PHONY: help demo pictures test check soak browser clean
.DEFAULT_GOAL := help

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' $(MAKEFILE_LIST)

demo: $(installed)  ## train a stuck, a miswired and a healthy network on real data, in about a minute; logs in out/demo
	$(python) examples/quickstart.py

pictures: $(installed) browser  ## draw the pictures of docs and README anew, with the README's terminal output, from short real runs
	$(python) -m benchmarks.pictures --docs --readme
	$(python) -m benchmarks.tab.pictures --docs

test: $(installed) browser  ## lint, types and the whole test suite; the last line says what was left out
	$(lint)
	$(pytest) -m "not soak" --durations=20 --durations-min=0

check: $(installed)  ## lint, types and the fast tests, in two minutes: for those who are changing something
	$(lint)
	$(pytest) -m "not slow and not soak and not distributed and not browser" --durations=5 --durations-min=1

# pytest exits with 5 where no test is marked.
soak: $(installed)  ## the tests that take minutes each
	$(python) -m pytest -m soak || test $$? -eq 5

browser:  ## what the tests of the TensorBoard tab need: Chromium, where apt-get may install it
	@if ! { command -v chromium && command -v chromedriver; } >/dev/null \
	    && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	    { apt-get update && apt-get install -y --no-install-recommends chromium chromium-driver; } || true; \
	fi

clean:  ## remove .venv, out/ and what the tools keep
	rm -rf $(venv) out dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# torch goes first: what comes later must find it and not choose its own.
$(installed): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed (make PYTHON=...), got " + sys.version)'
	@echo "Setting up $(venv): once, some minutes"
	rm -rf $(venv)
	$(PYTHON) -m venv $(venv)
	$(pip) "$$(grep '^torch==' constraints.txt)"
	$(pip) --quiet --editable ".[dev]"
	@touch $@
