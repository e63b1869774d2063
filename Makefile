# Everything is installed into .venv. "make clean" removes it and what a build leaves; trained models in runs/ stay.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: quickstart test quality notebooks other-tools clean

quickstart: .venv/installed
	$(BIN)/python scripts/quickstart.py

test: quality
	tests/system_packages.sh
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

quality: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

notebooks: .venv/installed-dev
	$(BIN)/python docs/notebooks/build.py

# downloads about 100 MB of packages into .other_tools
other-tools: .venv/installed-dev
	test -d .other_tools || PYTHON=$(BIN)/python tests/support/other_tools.sh .other_tools
	OTHER_TOOLS=$(CURDIR)/.other_tools $(BIN)/python -m pytest tests/test_other_tools.py tests/test_onnx_export.py

clean:
	rm -rf .venv .other_tools build dist *.egg-info

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: $(PYTHON) is missing or older than Python 3.11: name another one, as in make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet -e .
	touch $@

.venv/installed-dev: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	touch $@ .venv/installed
