# `make` lists the targets. ARGS="..." is passed on to demo, serve, test and test-embedded.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

# Runs a command on the real stack; see compose/README.md.
WITH_STACK := compose/with-stack.sh
STACK := compose/stack.sh
SYSTEM := compose/system.sh
# Folder of target/ that up-native and test-rolling take programs from: release, debug, dist.
PROFILE ?= release
CARGO_PROFILE = $(PROFILE:debug=dev)
COMPOSE := docker compose -f compose/compose.yaml
SCRIPTS := .ci/run $(wildcard compose/*.sh migrations/users/*.sh) k8s/check.sh e2e/venv.sh
# One subject a file; each round prints a line of figures that begins with SUMMARY.
FAULT_TESTS := real_crash real_takeover real_servers real_log_identity real_poison real_gateway_crash real_redis real_stock_added real_staff real_contacts real_draw real_mission_faults \
  embedded_restart
# What operators have when something is lost or in doubt; the drill itself is compose/restore-drill.sh.
RECOVERY_TESTS := real_recovery real_replay embedded_recovery
CARGO_DENY_VERSION := 0.20.2
# For tools that are compiled to be run a few times: cargo-deny's own profile has link-time optimisation.
QUICKLY := CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
CARGO_CYCLONEDX_VERSION := 0.5.9
# The same everywhere: with others, most of the workspace would be built once more.
TEST_FEATURES := e2e/real-stack,e2e/generated-client
PROGRAMS := event-system api-gateway admin-api apply-worker raffle-worker
SCHEMATHESIS := target/schemathesis
OPENAPI_CLIENT := target/openapi-client
ARGS ?=

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build demo serve
build: ## all programs, optimised, into target/release
	cargo build --release --workspace --bins

# Without TLS to Kafka, which the embedded log does not have: OpenSSL would take perl and longer to build.
EMBEDDED := cargo run --release -p event-system --no-default-features --

demo: ## a stampede on the embedded stack, every promise checked
	$(EMBEDDED) demo $(ARGS)

serve: ## every role in one process, embedded unless the three URLs are set
	$(EMBEDDED) serve $(ARGS)

.PHONY: test test-embedded test-crash test-rolling test-recovery test-api users-check
test: export OPENAPI_CLIENT_BIN := $(CURDIR)/$(OPENAPI_CLIENT)/bin
test: $(OPENAPI_CLIENT)/installed ## all tests, on the real stack too (containers or native; started and stopped here)
	$(WITH_STACK) bash -ec 'cargo build --workspace --bins --features $(TEST_FEATURES); \
	  cargo test --workspace --features $(TEST_FEATURES) --no-fail-fast "$$@"' test $(ARGS)

test-embedded: ## the tests that need no real stores
	cargo build --workspace --bins
	cargo test --workspace $(ARGS)

test-crash: ## the long fault campaign: CRASH_ROUNDS (10) rounds of kills on the real stack
	CRASH_ROUNDS="$${CRASH_ROUNDS:-10}" $(WITH_STACK) bash -ec 'cargo build --workspace --bins --features $(TEST_FEATURES); \
	  cargo test --workspace --features $(TEST_FEATURES) --no-fail-fast $(FAULT_TESTS:%=--test %) -- --nocapture'

test-recovery: ## reconcile, replay beside the live database, shadow runs, and the restore drill, on the real stack
	$(WITH_STACK) bash -ec 'cargo build --workspace --bins --features $(TEST_FEATURES); \
	  cargo test --workspace --features $(TEST_FEATURES) --no-fail-fast $(RECOVERY_TESTS:%=--test %) -- --nocapture'

test-rolling: export ROLLING_ENTRIES ?= 100000
test-rolling: export ROLLING_RATE ?= 2000
test-rolling: ## 100,000 entries (ROLLING_ENTRIES) through the native system while workers go 1, 3, 1 and every role is restarted (PROFILE=debug)
	$(WITH_STACK) bash -ec 'ulimit -n "$$(ulimit -Hn)"; cargo build --profile $(CARGO_PROFILE) --workspace --bins --features $(TEST_FEATURES); \
	  cargo test --profile $(CARGO_PROFILE) --workspace --features $(TEST_FEATURES) --test real_rolling -- --nocapture'

test-api: $(SCHEMATHESIS)/installed ## schemathesis asks both listeners by their OpenAPI documents: no 5xx, nothing undocumented (MAX_SECONDS each, 90)
	cargo build -p event-system
	SCHEMATHESIS=$(CURDIR)/$(SCHEMATHESIS)/bin/schemathesis \
	  cargo test -p e2e --features schemathesis --test fuzzed_api -- --nocapture

users-check: ## database users of least privilege on the real stack: what each may and may not, then the programs as these users (TESTS_AS_USERS="real_draw")
	$(WITH_STACK) bash -ec 'cargo build --workspace --bins --features $(TEST_FEATURES); cargo test --workspace --features $(TEST_FEATURES) --no-run; \
	  migrations/users/check.sh; migrations/users/e2e.sh "$$@"' users-check $(TESTS_AS_USERS)

$(SCHEMATHESIS)/installed: e2e/schemathesis/requirements.txt
	e2e/venv.sh $(SCHEMATHESIS) $<
	touch $@

$(OPENAPI_CLIENT)/installed: e2e/generated_client/requirements.txt
	e2e/venv.sh $(OPENAPI_CLIENT) $<
	touch $@

.PHONY: bench
bench: ## figures beside the raw ceiling, on the real stack (ARGS="decide --repetitions 3")
	$(WITH_STACK) bash -ec 'ulimit -n "$$(ulimit -Hn)"; cargo build --profile dist --workspace --bins --features $(TEST_FEATURES); \
	  target/dist/bench "$$@"' bench $(ARGS)

.PHONY: k8s
k8s: ## Kubernetes files and alerts, without a cluster (needs kustomize, kubectl or Go; promtool, python3)
	k8s/check.sh

.PHONY: compose-check
compose-check: ## container files, load balancer and Prometheus settings, without an engine (needs haproxy, promtool, python3)
	compose/check.sh

.PHONY: fmt lint shellcheck metrics-check deny
fmt: ## format the sources
	cargo fmt --all

lint: shellcheck metrics-check ## formatting, clippy without a warning, shell scripts, METRICS.md
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --features $(TEST_FEATURES) -- -D warnings

shellcheck:
	@if command -v shellcheck >/dev/null; then shellcheck $(SCRIPTS); else echo 'shellcheck: not installed, skipped'; fi

metrics-check: ## METRICS.md against the sources, dashboards and alerts against METRICS.md
	@if command -v python3 >/dev/null; then .ci/check-metrics.py; else echo 'metrics: no python3, skipped'; fi

# cargo-deny reads the manifests of all platforms, hence the fetch; the check itself asks no server.
deny: export PATH := $(CURDIR)/target/tools/bin:$(PATH)
deny: ## licences, sources and bans of the dependencies (deny.toml)
	@command -v cargo-deny >/dev/null || \
	  $(QUICKLY) cargo install cargo-deny --quiet --locked --version $(CARGO_DENY_VERSION) --root target/tools
	@cargo fetch --locked --quiet
	cargo deny --offline check --hide-inclusion-graph bans licenses sources

.PHONY: sbom image-check
# cargo-cyclonedx writes beside each manifest. The commit's time in place of now: the same sources give the same files.
sbom: export PATH := $(CURDIR)/target/tools/bin:$(PATH)
sbom: export SOURCE_DATE_EPOCH := $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
sbom: ## bills of materials (CycloneDX) of the programs, in target/sbom
	@command -v cargo-cyclonedx >/dev/null || \
	  $(QUICKLY) cargo install cargo-cyclonedx --quiet --locked --version $(CARGO_CYCLONEDX_VERSION) --root target/tools
	@cargo fetch --locked --quiet
	cargo cyclonedx --quiet --format json --spec-version 1.5 --target x86_64-unknown-linux-gnu --override-filename sbom
	@mkdir -p target/sbom
	@for p in $(PROGRAMS); do mv $$p/sbom.json target/sbom/$$p.cdx.json; done; rm -f */sbom.json
	@wc -c target/sbom/*.cdx.json

image-check: ## the images without an engine: lint, each step natively, each image entered (ARGS="--profile dev", "--programs target/release")
	compose/check-image.sh $(ARGS)

.PHONY: stack-up stack-down stack-wipe stack-status up down up-native down-native
stack-up: ## start the native stack (STACK_BROKERS=3 for three brokers)
	$(STACK) up
	@$(STACK) env

stack-down: ## stop the native stack, keep its data
	$(STACK) down

stack-wipe: ## stop the native stack and drop its data
	$(STACK) down --wipe

stack-status: ## what of the native stack answers
	$(STACK) status

up: ## the whole system in containers: stores, load balancer, programs, Prometheus, Grafana (needs Docker and AUTH_*)
	$(COMPOSE) up --build --detach --wait

# By name: with the file, even this would ask for AUTH_*.
down: ## stop the containers, keep their data
	docker compose --project-name event-system down

up-native: ## the whole system without containers: the native stack, load balancer, programs, Prometheus (PROFILE=debug)
	cargo build --profile $(CARGO_PROFILE) --workspace --bins
	PROFILE=$(PROFILE) $(SYSTEM) up

down-native: ## drain and stop what up-native started, keep its data (ARGS=--wipe drops it)
	$(SYSTEM) down $(ARGS)
