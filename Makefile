# One command per thing a contributor does. `make demo` and `make test` set up everything they need themselves.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

PYTHON ?= python3
JOBS ?= $(shell nproc)
export PYTHON
# CMake, Ninja and the linters are those of .venv, so that everybody has the same.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DEBIAN_FRONTEND := noninteractive

launcher := $(if $(shell command -v ccache),-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
cxx_files = $$(find cpp tests benchmarks -name '*.cc' -o -name '*.h')

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## system packages (apt) and .venv, where they are missing
	@tools/setup-system
	@tools/setup-venv

# The C++ tests and the extension module share one tree and its object files. A tree that was configured for another .venv
# is configured anew; otherwise CMake itself knows when to.
define configure
	@python=$$(.venv/bin/python -c 'import sys; print(sys.prefix, sys.version)'); \
	if [ ! -e build/$(1)/build.ninja ] || [ "$$(cat build/$(1)/python 2>/dev/null)" != "$$python" ]; then \
	  cmake --preset $(1) --fresh $(launcher) $(2) >build/$(1).log 2>&1 || { cat build/$(1).log; exit 2; }; \
	  printf '%s' "$$python" >build/$(1)/python; \
	fi
endef
# Two trees put their module into the same place: the one that is asked for must link anew after the other did.
claim_module = @[ "$$(cat build/module 2>/dev/null)" = $(1) ] || rm -f python/llmbench/_core*.so; echo $(1) >build/module
module = -DLLMBENCH_BUILD_PYTHON=ON -DLLMBENCH_INPLACE=ON -DCMAKE_INTERPROCEDURAL_OPTIMIZATION=OFF \
  -DPython_EXECUTABLE=$(CURDIR)/.venv/bin/python -Dpybind11_DIR=$$(.venv/bin/python -m pybind11 --cmakedir)

build/:
	@mkdir -p $@

.PHONY: build
build: setup | build/ ## the extension module and the C++ tests
	$(call configure,dev,$(module))
	$(call claim_module,dev)
	@cmake --build --preset dev -j $(JOBS)

.PHONY: demo
demo: setup | build/ ## a sweep over TP size, replicas and clients against the simulated server, with its figures
	$(call configure,dev,$(module))
	$(call claim_module,dev)
	@cmake --build --preset dev -j $(JOBS) --target _core
	python -m llmbench.run_benchmark --tp_size 1 2 --num_replicas 1 2 --num_clients 2 4 8 16 32 \
	  --mean_prompt_length 256 --mean_max_new_tokens 32 --stream
	python -m llmbench.plots.throughput_latency --backend sim
	python -m llmbench.plots.replica_scaling --backend sim
	python -m llmbench.plots.pareto --backend sim

# The tests send signals, which a caller in the background or under nohup has told its children to ignore.
.PHONY: test
test: build ## all tests: C++ (ctest), then Python (pytest), then those that need the machine for themselves
	ctest --preset dev -j $(JOBS)
	env --default-signal python -m pytest -n auto -m 'not serial'
	env --default-signal python -m pytest -m serial

.PHONY: lint
lint: build ## formatting, types, and a build in which warnings are errors
	ruff check .
	ruff format --check .
	mypy
	clang-format --dry-run -Werror $(cxx_files)

.PHONY: format
format: setup ## formats everything that `make lint` checks
	ruff check --fix-only --quiet .
	ruff format .
	clang-format -i $(cxx_files)

.PHONY: asan
asan: setup | build/ ## C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer
	$(call configure,asan,)
	@cmake --build --preset asan -j $(JOBS)
	ctest --preset asan -j $(JOBS)

.PHONY: tsan
tsan: setup | build/ ## C++ tests under ThreadSanitizer
	$(call configure,tsan,)
	@cmake --build --preset tsan -j $(JOBS)
	ctest --preset tsan -j $(JOBS)

FUZZ_SECONDS ?= 600
FUZZ_JOBS ?= 1
.PHONY: fuzz
fuzz: setup | build/ ## every parser given made-up bytes for FUZZ_SECONDS (600), FUZZ_JOBS (1) at a time; wants Clang
	@compiler=$$(tools/find-clang); \
	[ "$$(cat build/fuzz.compiler 2>/dev/null)" = "$$compiler" ] || rm -f build/fuzz/build.ninja; \
	echo "$$compiler" >build/fuzz.compiler
	$(call configure,fuzz,-DCMAKE_CXX_COMPILER=$$(cat build/fuzz.compiler))
	@cmake --build --preset fuzz -j $(JOBS)
	python tests/fuzz/run.py build/fuzz --seconds $(FUZZ_SECONDS) --jobs $(FUZZ_JOBS)

.PHONY: kills
kills: build ## a sweep killed at fifty random moments, which must end with all its results and no server; ten minutes
	env --default-signal python tests/kill/run.py

.PHONY: bench
bench: setup | build/ ## the programs behind every sentence about speed and precision, a quarter of an hour; wants an idle machine
	$(call configure,release,$(module))
	$(call claim_module,release)
	@cmake --build --preset release -j $(JOBS)
	python benchmarks/ceiling/compare.py
	python benchmarks/accuracy/truth.py
	python benchmarks/memory.py
	python benchmarks/accuracy/independent.py
	python benchmarks/accuracy/budget.py

# ARGS: of compare.py, for example ARGS=--quick.
.PHONY: rivals
rivals: setup | build/ ## llmbench beside other clients, into docs/benchmarks.md: 7 GB of them, 25 minutes of an idle machine
	$(call configure,release,$(module))
	$(call claim_module,release)
	@cmake --build --preset release -j $(JOBS) --target _core
	python benchmarks/rivals/compare.py $(ARGS)

# ARGS: of real_runs.py, for example ARGS='--only llamacpp', or ARGS=--install to download now and measure later.
.PHONY: real
real: setup | build/ ## sweeps of real servers (vLLM on the CPU, transformers, llama.cpp) into docs/real-runs.md; 2.6 GB the first time
	$(call configure,release,$(module))
	$(call claim_module,release)
	@cmake --build --preset release -j $(JOBS) --target _core
	python benchmarks/servers/real_runs.py $(ARGS)

.PHONY: wheel
wheel: setup ## a wheel with its libraries inside, in wheelhouse/
	@tools/build-wheel

.PHONY: clean
clean: ## removes what was built; keeps .venv and results
	rm -rf build dist wheelhouse .mypy_cache .ruff_cache .pytest_cache
	find python tests -name __pycache__ -prune -exec rm -rf {} +
	rm -f python/llmbench/_core*.so
