# One line per verb; `make` alone lists them.

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10

demo: ## a sample registry, the gateway in front of it, and each pull as it is counted
	cargo run --release -- demo

check: ## formatting, lints, documentation, licences and sources
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items
	@if cargo deny --version > /dev/null 2>&1; then cargo deny check bans licenses sources; \
	else echo "cargo-deny is not installed: licences and sources were not checked"; fi

test: ## installs what the tests need (Debian, as root), then runs all of them
	sh tests/setup.sh
	cargo test --locked --workspace

clients: ## only the real clients
	sh tests/setup.sh
	cargo test --locked --test clients --test matrix

bench: ## micro-benchmarks, each beside its naive twin
	cargo bench --locked --bench head --bench endpoint --bench route --bench turn --bench fold --bench store --bench query --bench pages

instructions: ## instructions per step of a redirect, by callgrind (needs valgrind)
	cargo bench --locked --bench instructions

compare: ## every bar, the gateway beside nginx and haproxy, and one table of all (Debian, as root)
	sh tests/setup.sh strace:strace
	cargo bench --locked --bench route --bench store
	cargo build --locked --release --workspace
	target/release/loadtest compare --gateway target/release/pullgate --criterion target/criterion

load: ## a closed and an open loop of redirects on the gateway alone
	cargo build --locked --release --workspace
	target/release/loadtest run redirect --gateway target/release/pullgate
	target/release/loadtest run redirect --gateway target/release/pullgate --rate 5000,10000,20000

doc: ## the code's documentation
	cargo doc --no-deps --document-private-items --open

.PHONY: help demo check test clients bench instructions compare load doc
