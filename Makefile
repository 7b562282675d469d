# `make demo` and `make test` each take a fresh Debian 12 or Ubuntu 24.04 machine all the way. What is
# fetched is kept in ~/.cache/lookout (LOOKOUT_CACHE), so that nothing is done twice.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup setup-tests build test test-quick lint advisories fuzz fmt bench demo clean

# rustup's own folder, where a fresh install has not reached the shell's PATH yet.
export PATH := $(HOME)/.cargo/bin:$(PATH)

# One profile for everything: the C++ under libtorch's and Kafka's bindings takes minutes to compile, and
# the linter, the tests and the binaries share it.
BINARIES := -p lookout-cli -p lookout-worker -p lookout-lab -p lookout-sim
EVERYTHING := --workspace --all-targets
# The crates whose documentation has examples.
DOCTESTS := -p lookout-wire -p lookout-config -p lookout-track

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## system packages, Rust and libtorch, for the build and the demo
	@scripts/packages.sh build
	@scripts/rust.sh
	@scripts/libtorch.sh

setup-tests: setup ## a JDK and Apache Kafka besides, for the tests
	@scripts/packages.sh test
	@scripts/kafka.sh install

build: setup ## lookout, lookout-worker and lookout-lab into target/release
	cargo build --release $(BINARIES)

lint: setup-tests ## format, spelling, phrases, dependencies, clippy and rustdoc; warnings are errors
	cargo fmt --all --check
	"$$(scripts/lint.sh typos)"
	python3 scripts/lint/phrases.py
	"$$(scripts/lint.sh cargo-deny)" check licenses bans sources
	cargo clippy --release $(EVERYTHING) -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps

advisories: ## compare the dependencies with the list of known vulnerabilities, which is on GitHub
	"$$(scripts/lint.sh cargo-deny)" check advisories

test: lint ## everything that .ci/run checks: lint, build and all tests
	cargo build --release --workspace --bins
	LOOKOUT_CLIP="$$(scripts/clip.sh)" cargo test --release --workspace --no-fail-fast --lib --bins --tests
	cargo test --release --doc $(DOCTESTS)

test-quick: setup ## the unit tests, without network, Kafka and browser
	cargo test --release --workspace --lib --bins

fuzz: setup-tests ## FUZZ (50) mutations of a file of each container beside a good camera, from the seed SEED (1)
	LOOKOUT_CLIP="$$(scripts/clip.sh)" LOOKOUT_FUZZ="$${FUZZ:-50}" LOOKOUT_FUZZ_SEED="$${SEED:-1}" LOOKOUT_OWN_PROCESS=1 \
		cargo test --release -p lookout-tests --test ingest fuzz:: -- --nocapture

fmt: ## format the sources
	cargo fmt --all

bench: setup-tests build ## measure against the Python peers, into docs/performance.md (BENCH_ARGS=--help)
	python3 scripts/bench $(BENCH_ARGS)

demo: build ## four simulated cameras, watched for DEMO_SECONDS (60) on the embedded broker
	@scripts/demo.sh

clean: ## remove what was built; what was fetched stays in the cache
	cargo clean
