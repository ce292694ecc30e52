# Each target works on a fresh machine with Python >= 3.11: environment, installation, run.
#   PYTHON       the interpreter that makes the environment
#   VENV         the environment; one that exists is used, and a torch >= 2.10 in it is kept
#   TORCH_INDEX  a wheel index for torch alone, e.g. https://download.pytorch.org/whl/cpu

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=

BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check
STAMP = $(VENV)/.open-tunit
OLD = needs Python 3.11 or newer; name one with PYTHON=/path/to/python
RECENT_PYTHON = import sys; sys.exit(sys.version_info < (3, 11))
RECENT_TORCH = from importlib.metadata import version; v = version("torch").split("."); assert (int(v[0]), int(v[1])) >= (2, 10)

# An environment shared by several checkouts belongs to the one that was installed last.
ifneq ($(shell cat '$(STAMP)-checkout' 2>/dev/null),$(CURDIR))
STALE = FORCE
endif

.PHONY: help install demo test check bench docs FORCE

help:
	@echo 'make install the command tunit, its page and its measuring'
	@echo 'make demo    train on the built-in pictures for six minutes, then evaluate'
	@echo 'make test    the tests'
	@echo 'make check   ruff and mypy, of the package and its scripts'
	@echo 'make bench   the benchmarks'
	@echo 'make docs    the documentation, into site/'
	@echo 'Variables: PYTHON=$(PYTHON) VENV=$(VENV) TORCH_INDEX=$(TORCH_INDEX)'

# The extras that README.md needs.
install: $(STAMP)-eval,web,photos
	@echo 'Installed. Try $(BIN)/tunit serve'

DEMO = runs/demo
demo: $(STAMP)-eval
	$(BIN)/tunit train --preset cpu --data critters:5 --out $(DEMO) --seed 0 --minutes 6
	$(BIN)/tunit evaluate $(DEMO)
	$(BIN)/tunit translate --model $(DEMO)/model --source $(DEMO)/report/pictures/0.png \
		--reference $(DEMO)/report/pictures/1.png --out $(DEMO)/translations --overwrite
	@echo 'Look at $(DEMO)/report/index.html; the figures are in $(DEMO)/metrics.json'

# What the tests and checks need.
CHECKED = eval,web,video,export,hub,photos,data,scale,docs,dev

test: $(STAMP)-$(CHECKED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2

check: $(STAMP)-$(CHECKED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	MYPYPATH=benchmarks:experiments/faults $(BIN)/mypy --no-warn-return-any --implicit-reexport benchmarks experiments

# On a GPU: make bench BENCH_SIZE=128 BENCH_BATCH=32
BENCH_SIZE ?= 64
BENCH_BATCH ?= 8
bench: $(STAMP)-eval,photos
	$(BIN)/python benchmarks/train_step.py --preset paper --size $(BENCH_SIZE) --batch $(BENCH_BATCH) --rounds 3
	$(BIN)/python benchmarks/train_step.py --preset cpu --rounds 15
	$(BIN)/python benchmarks/train_step.py --preset photos --rounds 5
	$(BIN)/python benchmarks/translate.py
	$(BIN)/python benchmarks/input.py

docs: $(STAMP)-docs
	$(BIN)/mkdocs build --strict

$(BIN)/python:
	@$(PYTHON) -c '$(RECENT_PYTHON)' 2>/dev/null || { echo 'open-tunit $(OLD)' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo '$(PYTHON) has no venv module; install it (Debian, Ubuntu: apt install python3-venv)' >&2; exit 1; }
	$(PYTHON) -m venv '$(VENV)'

# torch goes first, alone: the rest then finds it there and never exchanges it.
$(STAMP)-%: pyproject.toml constraints.txt $(STALE) | $(BIN)/python
	@$(BIN)/python -c '$(RECENT_PYTHON)' || { echo '$(VENV) $(OLD)' >&2; exit 1; }
	@$(PIP) --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip
	@$(BIN)/python -c '$(RECENT_TORCH)' 2>/dev/null || $(PIP) install -q \
		$(if $(TORCH_INDEX),--no-deps --index-url '$(TORCH_INDEX)',-c constraints.txt) $$(grep '^torch==' constraints.txt)
	@grep -v '^torch==' constraints.txt > '$(STAMP)-constraints.txt'
	$(PIP) install -q -c '$(STAMP)-constraints.txt' -e '.[$*]'
	@printf '%s\n' '$(CURDIR)' > '$(STAMP)-checkout'
	@touch '$@'
