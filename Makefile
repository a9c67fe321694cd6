# A thin front for CMake: the few targets that a person types. `make help` lists them.
BUILD ?= build
CC ?= cc
JOBS ?= $(shell nproc)
PREFIX ?= /usr/local
CMAKE_ARGS ?=
TARGETS ?= all

.PHONY: all help deps demo test interop bench fuzz install format lint clean configure

all: configure ## build everything: programs in build/bin, libraries in build/lib
	@cmake --build $(BUILD) -j $(JOBS) --target $(TARGETS)

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

configure:
	@test -f $(BUILD)/build.ninja || cmake -S . -B $(BUILD) -G Ninja -DCMAKE_C_COMPILER=$(CC) -DCMAKE_INSTALL_PREFIX=$(PREFIX) $(CMAKE_ARGS) >$(BUILD).log 2>&1 || { mkdir -p $(BUILD); cat $(BUILD).log; rm -f $(BUILD).log; exit 1; }
	@rm -f $(BUILD).log

deps: ## install what is missing (Debian packages)
	@tools/deps.sh test

demo: ## install what is missing, build, send a real file between two endpoints that know only an id
	@tools/deps.sh
	@$(MAKE) --no-print-directory all
	@tools/demo.sh $(BUILD)

test: ## every test that needs no second machine; ends with 'N passed, N failed'
	@tools/deps.sh test
	@tests/interop/build-peers.sh node || true
	@$(MAKE) --no-print-directory all
	@python3 tests/run.py --build $(BUILD)

interop: ## the tests against real peers, all of them demanded
	@tools/deps.sh ci
	@$(MAKE) --no-print-directory all
	@python3 tests/run.py --build $(BUILD) --demand-peers --only interop

bench: ## measure against real peers: a table, and build/bench.json
	@tools/deps.sh test
	@$(MAKE) --no-print-directory all
	@python3 bench/run.py --build $(BUILD)

fuzz: ## fuzz every target for FUZZ_SECONDS (60) each; needs clang
	@tools/deps.sh ci
	@tools/fuzz.sh $(or $(FUZZ_SECONDS),60)

install: all ## install to DESTDIR/PREFIX
	@DESTDIR=$(DESTDIR) cmake --install $(BUILD) --prefix $(PREFIX)
	@if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" = 0 ] && command -v ldconfig >/dev/null; then ldconfig; fi

format: ## format the C code
	@git ls-files '*.c' '*.h' | xargs clang-format -i

lint: ## format, layers, names, documentation checks
	@tools/lint.sh

clean: ## remove what was built
	rm -rf $(BUILD)
