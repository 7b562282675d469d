# `make demo` and `make test` work on a fresh Debian 12 or Ubuntu 24.04 machine and install what they need. Downloads
# are kept in ~/.cache/lookout (LOOKOUT_CACHE).

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup setup-tests build test test-quick test-compose test-kubernetes lint advisories fuzz fmt bench release \
	verify-release demo clean

# After a fresh installation, rustup's folder is not yet on the shell's PATH.
export PATH := $(HOME)/.cargo/bin:$(PATH)

# Linter, tests and binaries use one profile, so that the C++ code of the libtorch and Kafka bindings, which takes
# minutes, is compiled once.
BINARIES := -p lookout-cli -p lookout-worker -p lookout-lab -p lookout-sim
EVERYTHING := --workspace --all-targets

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## install system packages, Rust and libtorch for the build and the demo
	@scripts/packages.sh build
	@scripts/rust.sh
	@scripts/libtorch.sh

setup-tests: setup ## install a JDK, Apache Kafka and other packages for the tests
	@scripts/packages.sh test
	@scripts/kafka.sh install

build: setup ## build lookout, lookout-worker, lookout-lab and lookout-sim into target/release
	cargo build --release $(BINARIES)

lint: setup-tests ## check format, spelling, phrases, notices, dependencies, clippy and rustdoc; warnings are errors
	cargo fmt --all --check
	"$$(scripts/lint.sh typos)"
	python3 scripts/lint/phrases.py
	python3 scripts/lint/notices.py
	"$$(scripts/lint.sh cargo-deny)" check licenses bans sources
	cargo clippy --release $(EVERYTHING) -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps

advisories: ## compare the dependencies with the list of known vulnerabilities, which is on GitHub
	"$$(scripts/lint.sh cargo-deny)" check advisories

test: lint ## run everything that .ci/run checks: lint, build and all tests
	cargo build --release --workspace --bins
	LOOKOUT_CLIP="$$(scripts/clip.sh)" cargo test --release --workspace --no-fail-fast --lib --bins --tests
	cargo test --release --workspace --doc

test-quick: setup ## run the unit tests, without network, Kafka and browser
	cargo test --release --workspace --lib --bins

test-compose: setup ## build the images, run docker-compose.yml and check it; needs root or a Docker engine
	@scripts/compose/test.sh

test-kubernetes: ## render the Kubernetes manifests and validate them with the code of the API server
	@scripts/kubernetes.sh

fuzz: setup-tests ## read FUZZ (50) mutated files of each container while a good camera runs, with seed SEED (1)
	LOOKOUT_CLIP="$$(scripts/clip.sh)" LOOKOUT_FUZZ="$${FUZZ:-50}" LOOKOUT_FUZZ_SEED="$${SEED:-1}" LOOKOUT_OWN_PROCESS=1 \
		cargo test --release -p lookout-tests --test ingest fuzz:: -- --nocapture

fmt: ## format the sources
	cargo fmt --all

bench: setup-tests build ## compare with the Python peers and update docs/performance.md (BENCH_ARGS=--help)
	python3 scripts/bench $(BENCH_ARGS)

release: setup ## build the files of a release in release/VERSION, signed with LOOKOUT_RELEASE_KEY; see RELEASE.md
	@scripts/release/release.sh

verify-release: ## verify signature, checksums and bills of materials of the release in DIR
	@scripts/release/verify.sh "$(DIR)"

demo: build ## run four simulated cameras for DEMO_SECONDS (60) with the embedded broker
	@scripts/demo.sh

clean: ## remove the build output; downloads stay in the cache
	cargo clean
