# Everything a newcomer needs; `make help` lists it. Works on a fresh Debian machine: what is missing is installed where
# that is possible (root), and named where it isn't.

.DEFAULT_GOAL := help
SHELL         := /bin/sh
VENV          := .venv
BIN           := $(VENV)/bin
SAMPLES       := $(patsubst samples/%/,%,$(dir $(wildcard samples/*/*.bpf.c)))
PYTEST_ARGS   ?=

.PHONY: help venv peers test lint format samples demo bench conformance vm clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' Makefile | awk -F'\t' '{ printf "  make %-12s %s\n", $$1, $$2 }'

venv: $(VENV)/.ready ## .venv with bpfload (editable) and the development tools

$(VENV)/.ready: pyproject.toml tests/support/venv.sh
	@sh tests/support/venv.sh $(VENV)
	@touch $@

peers: ## install what the tests compare against (bpftool, clang, strace, ...): root and apt-get
	@sh tests/support/peers.sh

test: venv peers ## the whole test suite, on the running kernel where that is possible
	$(BIN)/pytest $(PYTEST_ARGS)

lint: venv ## ruff (format and lint), mypy --strict, import-linter
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict
	$(BIN)/lint-imports

format: venv ## let ruff put the sources into form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

samples: ## compile the samples anew with clang
	@for name in $(SAMPLES); do $(MAKE) --no-print-directory -C samples/$$name rebuild || exit 1; done

demo: venv ## load, attach, watch and unload the samples in a network namespace of its own (root)
	@$(BIN)/python samples/demo.py

bench: venv peers ## bpfload beside bpftool and libbpf, in one run, as ratios
	@$(BIN)/python tests/bench/run.py

conformance: venv peers ## the kernel's own selftests: same verdict and same tag as libbpf
	$(BIN)/python tests/conformance/run.py

vm: venv peers ## the kernel tests under other kernels, in QEMU
	$(BIN)/python tests/vm/run.py

clean: ## remove what was made here: .venv, caches
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
