# Everything runs from .venv, which `setup` makes once; PYTHON chooses the interpreter it is made from.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo check browser test test-gpu test-lowest release-check bench bench-full bench-gpu docs docs-serve

PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PEERS := $(VENV)/.peers
WORKERS ?= 2
LOWEST := .cache/lowest
RELEASE := .cache/release
# Two test processes on two cores: one thread each, or they fight.
SINGLE := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

help: ## List the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' | \
		while IFS='|' read -r name text; do printf '  make %-13s %s\n' "$$name" "$$text"; done

setup: $(STAMP) ## Make .venv and install everything, pinned by constraints.txt (only when something changed)

$(STAMP): pyproject.toml constraints.txt
	@for python in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
		if "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi; \
		python=; \
	done; \
	if [ -z "$$python" ]; then \
		echo 'A Python of version 3.11 or newer with `venv` is needed. None was found among: $(PYTHON) python3' \
			'python3.13 python3.12 python3.11. Install one (Debian: python3 and python3-venv), or name it:' \
			'make setup PYTHON=/path/to/python3' >&2; \
		exit 1; \
	fi; \
	if [ ! -x $(BIN)/python ]; then "$$python" -m venv $(VENV); fi
	$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt \
		--editable '.[fewshot,triton,page,tensorboard,test,dev,bench,docs]'
	@touch $(STAMP)

demo: setup ## Train a small CMNet on synthetic episodes, score it on classes it never saw, write a report
	$(BIN)/fewshot demo

check: setup ## Format, lint, types, import layers, spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports --config setup.cfg
	$(BIN)/codespell

browser: ## Install Debian's Chromium for the test of the page, where there is no browser yet (as root, by apt-get)
	@for name in chromium chromium-browser google-chrome google-chrome-stable chrome; do \
		if command -v "$$name" >/dev/null; then echo "The page is tested in $$(command -v "$$name")."; exit 0; fi; \
	done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends chromium >/dev/null; then \
		echo "The page is tested in $$(command -v chromium)."; exit 0; \
	fi; \
	echo 'No browser was found, and none could be installed: the test of the page in a browser will be skipped.' \
		'Install Chromium or Google Chrome (Debian, as root: apt-get install chromium).' >&2

test: setup ## Every test that needs no GPU
	$(SINGLE) $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

test-gpu: setup ## The tests that need a CUDA device
	$(BIN)/python -m pytest -m gpu

# UV_TORCH_BACKEND=cpu spares the CUDA libraries; UV_CONSTRAINT names a file with another PyTorch.
test-lowest: setup ## The tests of partialot with the oldest versions that pyproject.toml allows (needs a package index)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(LOWEST)
	$(BIN)/uv pip install --quiet --python $(LOWEST) --resolution lowest-direct --editable '.[fewshot,test]'
	$(SINGLE) $(LOWEST)/bin/python -m pytest --numprocesses $(WORKERS) --dist worksteal tests/partialot

# Not among the tests: it installs from a package index and trains the demonstration.
release-check: setup ## Build both archives; install the wheel in a new environment; run the README there (minutes)
	rm -rf $(RELEASE)
	$(BIN)/hatchling build --directory $(RELEASE)/dist
	$(BIN)/uv tool run twine@7.0.0 check --strict $(RELEASE)/dist/*
	$(BIN)/python -m venv $(RELEASE)/venv
	$(RELEASE)/venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		"$$(ls $(RELEASE)/dist/*.whl)[fewshot]"
	cd $(RELEASE) && venv/bin/fewshot demo && venv/bin/python $(CURDIR)/tests/distribution/run_readme.py

$(PEERS): $(STAMP)
	$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[peers]'
	@touch $(PEERS)

bench: $(PEERS) ## Compare with POT, GeomLoss, OTT and plain PyTorch on this CPU (a quarter of an hour), fill the pages
	$(BIN)/python benchmarks/bench_cpu.py
	$(BIN)/python benchmarks/bench_gradients.py
	$(BIN)/python benchmarks/bench_scaling.py
	$(BIN)/python benchmarks/bench_small_reg.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_exact.py
	$(BIN)/python benchmarks/make_page.py

bench-full: bench ## The same, then memory, imports, large problems, sweeps, precision, clouds and the network
	$(BIN)/python benchmarks/bench_memory.py
	$(BIN)/python benchmarks/bench_import.py
	$(BIN)/python benchmarks/bench_sweep.py
	$(BIN)/python benchmarks/bench_iterations.py
	$(BIN)/python benchmarks/bench_accuracy.py
	$(BIN)/python benchmarks/bench_formulations.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_gap.py
	$(BIN)/python benchmarks/bench_lazy.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_storage.py
	$(BIN)/python benchmarks/bench_cpu.py --workloads large --rounds 3 --out benchmarks/results/cpu_large.json
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_exact.py --nodes 3000 --families points features --rounds 1 \
		--out benchmarks/results/exact_3000.json
	$(BIN)/python benchmarks/bench_cmnet.py
	$(BIN)/python benchmarks/make_page.py

# FlashSinkhorn and JAX for CUDA are taken where they install.
bench-gpu: $(PEERS) ## Measure on the CUDA device at hand, beside its ceilings, floors and peers (under ten minutes)
	$(BIN)/python -m pip install --disable-pip-version-check 'flash-sinkhorn==0.4.*' 'jax[cuda12]==0.10.*' || \
		echo 'FlashSinkhorn and JAX for CUDA did not install: they are not compared.' >&2
	$(BIN)/python benchmarks/bench_gpu.py
	$(BIN)/python benchmarks/make_page.py

# Material for MkDocs prints an advertisement of its successor otherwise.
docs: export NO_MKDOCS_2_WARNING := 1
docs: setup ## Draw the figures anew, build the documentation into site/, run every program of its pages
	$(BIN)/python docs/images/make_figures.py
	$(BIN)/python docs/images/make_gallery.py
	$(BIN)/mkdocs build --strict
	$(SINGLE) $(BIN)/python -m pytest tests/docs
	@echo 'The documentation is built: open site/index.html, which needs neither a server nor a network.'

docs-serve: setup ## Show the documentation at http://localhost:8000, built anew at every change
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve
