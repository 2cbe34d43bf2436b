PYTHON ?= python3
BIN := .venv/bin
# Several tests at once, each on one core; no more, for the memory that their networks take.
AT_ONCE := --numprocesses=auto --maxprocesses=4
test notebooks test-lowest test-newest: export OMP_NUM_THREADS ?= 1

.PHONY: demo test lint notebooks docs package test-lowest test-newest clean

demo: .venv/installed
	$(BIN)/python -m captum_ssvep demo --out demo_output

test: .venv/tested
	$(BIN)/python -m pytest $(AT_ONCE)

lint: .venv/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Runs every notebook and leaves the files as they are.
notebooks: .venv/tested
	$(BIN)/python -m pytest $(AT_ONCE) --nbmake --nbmake-timeout=1200 --timeout=2400 --durations=0 \
	    -p no:randomly --override-ini=addopts= --override-ini=filterwarnings= tutorials

# Builds the site in docs/_build/html; a warning or a broken link is an error.
docs: .venv/tested
	rm -rf docs/_build
	$(BIN)/python -m sphinx -W --keep-going -n -d docs/_build/doctrees docs docs/_build/html
	$(BIN)/python docs/check_links.py docs/_build/html

# Builds, and tries the wheel elsewhere in a virtual environment of its own.
package: .venv/tested
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	elsewhere=$$(mktemp -d) && trap 'rm -rf "$$elsewhere"' EXIT && \
	wheel=$$(ls "$(CURDIR)"/dist/*.whl) && \
	$(PYTHON) -m venv "$$elsewhere/venv" && \
	"$$elsewhere/venv/bin/python" -m pip install --quiet "$$wheel" && \
	cd "$$elsewhere" && venv/bin/python -I "$(CURDIR)/.ci/smoke.py" "$$wheel"

# The tests with the oldest versions that pyproject.toml allows (Python 3.10 or 3.11).
test-lowest: .venv-lowest/tested
	.venv-lowest/bin/python -m pytest $(AT_ONCE)

# The tests with Captum's main branch and the newest torch, pre-releases too: what will break next.
test-newest: .venv-newest/tested
	.venv-newest/bin/python -m pytest $(AT_ONCE)

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/tested: .venv/installed
	$(BIN)/python -m pip install --quiet --editable ".[tutorials]" --group dev
	touch $@

.venv-lowest/tested: pyproject.toml
	$(PYTHON) -m venv --clear .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet uv
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python \
	    --resolution lowest-direct --editable ".[tutorials]" --group test
	touch $@

.venv-newest/tested: pyproject.toml
	$(PYTHON) -m venv --clear .venv-newest
	.venv-newest/bin/python -m pip install --quiet --upgrade pip
	.venv-newest/bin/python -m pip install --quiet --editable ".[tutorials]" --group test
	.venv-newest/bin/python -m pip install --quiet --pre --upgrade torch torchvision \
	    "captum @ git+https://github.com/meta-pytorch/captum"
	touch $@

clean:
	rm -rf .venv .venv-lowest .venv-newest demo_output dist docs/_build
