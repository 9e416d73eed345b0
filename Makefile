# `make help` lists what one can do here; CI calls these targets and nothing else.

.DEFAULT_GOAL := help
TIME = 600
TARGETS = envelope open_data headers lanes relay config stored_secret
.PHONY: help dev build test lint fmt audit fuzz bench timing load ci clean

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  \1\t/' | expand -t 12

dev: ## run a server and a simulated WeChat on this machine
	cargo run --release -- dev

build: ## build target/release/mina-auth
	cargo build --release --locked

test: ## run all tests; installs what they need
	tests/setup.sh
	cd tests/clients && npm ci --no-audit --no-fund
	cargo test --locked
	cd tests/clients && npm test

lint: ## check formatting, clippy, the documentation and the dependencies
	cargo fmt --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo clippy --locked --all-targets -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' cargo doc --locked --no-deps --document-private-items
	command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny --log-level error check bans licenses sources

fmt: ## format the code
	cargo fmt
	cargo fmt --manifest-path fuzz/Cargo.toml

fuzz: ## fuzz each target for ten minutes (TIME=60 for one, TARGETS="config headers" for some)
	command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
	@# No sanitizer: there is no unsafe code here. The variable lets the stable compiler instrument.
	cd fuzz && for target in $(TARGETS); do \
		RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none $$target -- \
			-max_total_time=$(TIME) -timeout=30 -print_final_stats=1 || exit; \
	done

audit: ## look the dependencies up among known holes (needs the network)
	command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny --log-level error check advisories

bench: build ## measure, side by side with nginx and redis (ARGS="--quick" for two minutes)
	bench/setup.sh
	node bench/run.mjs --binary target/release/mina-auth $(ARGS)

timing: build ## compare the times of a wrong skey and of an unknown id
	node bench/timing.mjs --binary target/release/mina-auth $(ARGS)

load: build ## load it with more than it is made for (ARGS="--quick" for half a minute)
	bench/setup.sh
	node bench/load.mjs --binary target/release/mina-auth $(ARGS)

ci: lint test ## what CI runs

clean: ## remove what was built
	cargo clean
	rm -rf fuzz/target tests/clients/node_modules
