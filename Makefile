# Copyright The Zastava Authors
# SPDX-License-Identifier: Apache-2.0
#
# `make help` lists the targets. Everything is built below build/; after `make clean` the directory is like a fresh clone.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help

GO      ?= go
ROOT    := $(CURDIR)
BUILD   := build
TOOLS   := $(BUILD)/tools
RUNTIMES := $(BUILD)/runtimes

# The tag of the checked-out commit, without its v. `make VERSION=…` overrides it.
VERSION := $(or $(shell git describe --tags --match 'v[0-9]*' 2>/dev/null | sed 's/^v//'),0.1.0)

# One set of flags for every binary, the linters included: packages compiled for one are found in Go's cache by the next.
RELEASE_ENV   := CGO_ENABLED=0
RELEASE_FLAGS := -trimpath -buildvcs=false
LDFLAGS       := -s -w

# The race detector needs a C compiler. Without one `make test` runs the tests without it, and says so.
RACE := $(if $(shell command -v $(or $(CC),gcc) 2>/dev/null),-race)

# What the binaries are compiled from: not what only tests use. Directories are in the list because their times change when a file
# is added or removed.
SOURCES := go.mod go.sum $(shell find cmd exporter extension internal receiver docs/api \
	\( -path internal/tools -o -path internal/test -o -name testdata \) -prune -o \( -type d -o -type f ! -name '*_test.go' \) -print 2>/dev/null)

##@ Use

.PHONY: run
run: ## Run the demo: a runtime, the collector, and the backend with its page, on this machine (PORT=8686, DEMO_FLAGS=)
	@$(if $(wildcard $(COLLECTOR)),,echo "Building the slim collector, the backend and the demo: a few minutes, the first time only." >&2;) \
	$(MAKE) --no-print-directory -j2 $(COLLECTOR) $(BUILD)/zastava-backend $(BUILD)/zastava-demo
	@exec $(BUILD)/zastava-demo --collector $(COLLECTOR) --backend $(BUILD)/zastava-backend \
		--config collector-config.yaml $(if $(PORT),--port $(PORT)) $(DEMO_FLAGS)

# The distribution that `run` uses: the full one if it is built, else the slim one.
COLLECTOR := $(firstword $(wildcard $(BUILD)/otelcol-zastava) $(BUILD)/otelcol-zastava-slim)

.PHONY: build
build: $(BUILD)/otelcol-zastava $(BUILD)/zastava-backend ## Build the full distribution and the reference backend

.PHONY: slim
slim: $(BUILD)/otelcol-zastava-slim ## Build the slim distribution: only what collector-config.yaml uses, for small nodes and quick builds

.PHONY: build-windows
build-windows: $(BUILD)/otelcol-zastava-slim_windows_amd64.exe ## Build the slim distribution for Windows on amd64

.PHONY: build-windows-full
build-windows-full: $(BUILD)/otelcol-zastava_windows_amd64.exe ## Build the full distribution for Windows on amd64

.PHONY: build-arm64
build-arm64: $(BUILD)/otelcol-zastava-slim_linux_arm64 ## Build the slim distribution for Linux on arm64

##@ Check

.PHONY: test
test: $(TOOLS)/gotestsum $(BUILD)/otelcol-zastava-slim $(BUILD)/zastava-backend ## Run all tests under the race detector, with real runtimes where root can start them; lists what it skipped
	$(if $(RACE),,@echo "No C compiler: testing without the race detector. Install gcc to have it." >&2)
	$(call gotestsum,$(RACE) -timeout 20m ./...)

# -short skips what needs a real runtime or a browser, and what takes long. The packages that are left out need real runtimes or built
# programs.
.PHONY: test-unit
test-unit: $(TOOLS)/gotestsum ## Run the tests that need no root, no runtime, no browser and no built program; under two minutes when compiled
	$(call gotestsum,-short -timeout 5m $$($(GO) list ./... | grep -vE '/internal/test/(bench|chaos|e2e)(/|$$)'))

.PHONY: e2e
e2e: $(TOOLS)/gotestsum $(BUILD)/otelcol-zastava-slim $(BUILD)/zastava-backend ## Run all tests, also the long ones with real runtimes
	ZASTAVA_E2E=long $(call gotestsum,$(RACE) -timeout 120m ./...)

# The packages whose tests run under Wine 8. Other tests fail there: it has no Unix sockets, and cannot remove directories as Go does.
WINDOWS_PACKAGES := ./internal/backendapi ./internal/checkpoint ./internal/observer ./internal/record ./internal/runtime/containerd \
	./internal/runtime/cri ./internal/runtime/detect ./internal/runtime/docker ./internal/test/namedpipe ./internal/tracker

.PHONY: e2e-windows
e2e-windows: $(TOOLS)/gotestsum $(BUILD)/otelcol-zastava-slim $(BUILD)/zastava-backend $(BUILD)/otelcol-zastava-slim_windows_amd64.exe $(BUILD)/wine/pipebridge.exe ## Test the Windows build under Wine, as a service that observes a real Docker through a named pipe; installs wine and mingw-w64 as root
	internal/test/wine/prepare
	GOOS=windows GOARCH=amd64 $(RELEASE_ENV) $(call gotestsum,$(RELEASE_FLAGS) -count=1 -timeout 5m -exec $(ROOT)/internal/test/wine/run $(WINDOWS_PACKAGES))
	# The other tests of this package need Unix sockets.
	GOOS=windows GOARCH=amd64 $(RELEASE_ENV) $(call gotestsum,$(RELEASE_FLAGS) -count=1 -timeout 5m -exec $(ROOT)/internal/test/wine/run \
		-run '^Test(Host|Config|ValidateReportsEveryFault|APIIsChosen|DetectedRuntime|Component|PlainTCP|Shutdown|Metadata)' ./receiver/criobserverreceiver)
	ZASTAVA_WINE=$(ROOT)/$(BUILD)/wine ZASTAVA_TEST_REQUIRE_RUNTIME=1 ZASTAVA_TEST_REQUIRE_DOCKER=1 $(call gotestsum,$(RACE) -count=1 -timeout 15m -run '^TestWindows' ./internal/test/e2e)

.PHONY: runtimes
runtimes: $(RUNTIMES)/containerd17/containerd $(RUNTIMES)/containerd2/containerd $(RUNTIMES)/docker29/dockerd ## Build containerd 1.7 and 2.x and dockerd 29 for the tests (minutes, once); without them the tests use only the system's

.PHONY: bench
bench: ## Run every benchmark of the repository (BENCH=regexp, BENCH_FLAGS=)
	$(GO) test -run='^$$' -bench='$(or $(BENCH),.)' -benchmem -timeout 60m $(BENCH_FLAGS) \
		$$(grep -rl --include='*_test.go' '^func Benchmark' cmd exporter extension internal receiver | xargs -n1 dirname | sort -u | sed 's|^|./|')

.PHONY: fuzz
fuzz: ## Run every fuzz target of the repository (FUZZTIME=60s each, FUZZ=regexp of `package Target`); a finding becomes a seed below testdata/fuzz
	@GO="$(GO)" $(RELEASE_ENV) GOFLAGS="$(RELEASE_FLAGS)" FUZZTIME="$(or $(FUZZTIME),60s)" FUZZ="$(or $(FUZZ),.)" internal/test/fuzz/run

.PHONY: validate
validate: build/otelcol-zastava ## Validate every collector configuration of the repository, also those in the documentation, with the full distribution
	ZASTAVA_OTELCOL=$(ROOT)/$< $(GO) test -count=1 ./internal/test/distro

.PHONY: lint
lint: $(TOOLS)/golangci-lint lint-workflows ## Run go vet, the linters and the formatting check of .golangci.yml, and lint-workflows
	$(RELEASE_ENV) GOFLAGS="$(RELEASE_FLAGS)" $(TOOLS)/golangci-lint run

.PHONY: lint-workflows
lint-workflows: $(TOOLS)/actionlint ## Check the workflows in .github with actionlint
	$(TOOLS)/actionlint

.PHONY: vulncheck
vulncheck: $(TOOLS)/govulncheck ## Report known vulnerabilities in the code that is called
	$(TOOLS)/govulncheck ./...

.PHONY: tidy-check
tidy-check: ## Fail when go mod tidy would change a go.mod or go.sum
	$(GO) mod tidy -diff
	$(GO) -C internal/tools mod tidy -diff

##@ Change

.PHONY: generate
generate: $(TOOLS)/mdatagen $(TOOLS)/goimports ## Generate code and documentation from each metadata.yaml
	PATH="$(ROOT)/$(TOOLS):$$PATH" $(GO) generate ./...
	# mdatagen 0.159 omits the import of filter in components that have events and no metrics; goimports adds it.
	find cmd exporter extension internal receiver -name 'generated_*.go' -print0 2>/dev/null | xargs -0r $(TOOLS)/goimports -w
	# mdatagen knows only the distributions of the OpenTelemetry project and leaves the link of ours empty.
	sed -i 's|^\[zastava\]: *$$|[zastava]: ../../builder-config.yaml|' exporter/*/README.md extension/*/README.md receiver/*/README.md

.PHONY: screenshots
screenshots: ## Take the picture of the page in docs/images with Chromium; it changes only when the page does
	ZASTAVA_SCREENSHOTS=$(ROOT)/docs/images ZASTAVA_TEST_REQUIRE_RUNTIME=1 $(GO) test -count=1 -run '^TestScreenshotIsTaken$$' ./internal/backend/page

.PHONY: fmt
fmt: $(TOOLS)/gofumpt $(TOOLS)/goimports ## Format all Go code
	git ls-files -z --cached --others --exclude-standard '*.go' ':!**/generated_*.go' | xargs -0r $(TOOLS)/goimports -local github.com/zastava-otel/zastava -w
	git ls-files -z --cached --others --exclude-standard '*.go' ':!**/generated_*.go' | xargs -0r $(TOOLS)/gofumpt -extra -w

.PHONY: tools
tools: $(addprefix $(TOOLS)/,actionlint gofumpt goimports golangci-lint gotestsum govulncheck mdatagen ocb) ## Build the tools that internal/tools/go.mod pins, into build/tools

.PHONY: clean
clean: ## Remove build/
	rm -rf $(BUILD)

.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^##@ / { printf "%s%s\n", sep, substr($$0, 5); sep = "\n" } \
		/^[a-z0-9-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# --- How things are built -----------------------------------------------------------------------------------------------

# Prints a line for each package, and at the end the output of failed tests and the reasons of skipped ones.
gotestsum = $(TOOLS)/gotestsum --format standard-quiet -- $(1)

# ocb writes the main package of a distribution from its manifest; go compiles it. ocb reads `dist.version` from the
# environment. It runs again after every change of a source, because a new import may change the generated go.mod; that takes a
# second once the modules are downloaded.
define generate_distribution
@mkdir -p $(BUILD)
env dist.version=$(VERSION) $(TOOLS)/ocb --config $(1) --skip-compilation --skip-strict-versioning=false 2>$(2).log \
	|| { cat $(2).log >&2; exit 1; }
endef

go_build = $(RELEASE_ENV) $(GO) build $(RELEASE_FLAGS) -ldflags='$(LDFLAGS)'

$(BUILD)/_otelcol.stamp: builder-config.yaml $(TOOLS)/ocb $(BUILD)/version $(SOURCES)
	$(call generate_distribution,$<,$(BUILD)/_otelcol)
	@touch $@

$(BUILD)/_otelcol-slim.stamp: builder-config.slim.yaml $(TOOLS)/ocb $(BUILD)/version $(SOURCES)
	$(call generate_distribution,$<,$(BUILD)/_otelcol-slim)
	@touch $@

$(BUILD)/otelcol-zastava: $(BUILD)/_otelcol.stamp
	cd $(BUILD)/_otelcol && $(go_build) -o ../$(@F) .
	@touch $@

$(BUILD)/otelcol-zastava-slim: $(BUILD)/_otelcol-slim.stamp
	cd $(BUILD)/_otelcol-slim && $(go_build) -o ../$(@F) .
	@touch $@

$(BUILD)/otelcol-zastava-slim_windows_amd64.exe: $(BUILD)/_otelcol-slim.stamp
	cd $(BUILD)/_otelcol-slim && GOOS=windows GOARCH=amd64 $(go_build) -o ../$(@F) .
	@touch $@

$(BUILD)/otelcol-zastava_windows_amd64.exe: $(BUILD)/_otelcol.stamp
	cd $(BUILD)/_otelcol && GOOS=windows GOARCH=amd64 $(go_build) -o ../$(@F) .
	@touch $@

# The Windows side of a pipe in the tests.
$(BUILD)/wine/pipebridge.exe: $(wildcard internal/test/e2e/pipebridge/*.go internal/test/namedpipe/*.go) go.mod
	GOOS=windows GOARCH=amd64 $(go_build) -o $@ ./internal/test/e2e/pipebridge

$(BUILD)/otelcol-zastava-slim_linux_arm64: $(BUILD)/_otelcol-slim.stamp
	cd $(BUILD)/_otelcol-slim && GOOS=linux GOARCH=arm64 $(go_build) -o ../$(@F) .
	@touch $@

$(BUILD)/zastava-backend $(BUILD)/zastava-demo: $(SOURCES)
	$(go_build) -o $@ ./cmd/$(@F)
	@touch $@

# Each containerd is compiled once per content of its go.mod: the daemon, its shim and ctr, which are the module's tools.
$(RUNTIMES)/containerd17/containerd: MODULE := github.com/containerd/containerd
$(RUNTIMES)/containerd2/containerd:  MODULE := github.com/containerd/containerd/v2

$(RUNTIMES)/%/containerd: internal/privateruntime/versions/%/go.mod internal/privateruntime/versions/%/go.sum
	@mkdir -p $(@D)
	cd $(<D) && version=$$($(GO) list -m -f '{{.Version}}' $(MODULE)) && \
		$(RELEASE_ENV) $(GO) build $(RELEASE_FLAGS) -ldflags="$(LDFLAGS) -X $(MODULE)/version.Version=$${version#v}" -o $(ROOT)/$(@D)/ tool
	@touch $@

# dockerd 29 needs containerd 2, and a newer runc than Debian's, for which a C compiler is needed.
$(RUNTIMES)/docker29/dockerd: MODULE := github.com/moby/moby/v2
$(RUNTIMES)/docker29/dockerd: internal/test/engine/versions/docker29/go.mod internal/test/engine/versions/docker29/go.sum
	@mkdir -p $(@D)
	cd $(<D) && version=$$($(GO) list -m -f '{{.Version}}' $(MODULE)) && \
		$(RELEASE_ENV) $(GO) build $(RELEASE_FLAGS) -ldflags="$(LDFLAGS) -X $(MODULE)/dockerversion.Version=$${version#v}" -o $(ROOT)/$@ $(MODULE)/cmd/dockerd && \
		CGO_ENABLED=1 $(GO) build $(RELEASE_FLAGS) -ldflags='$(LDFLAGS)' -o $(ROOT)/$(@D)/runc github.com/opencontainers/runc
	@touch $@

# Changes only when the version does.
.PHONY: FORCE
$(BUILD)/version: FORCE
	@mkdir -p $(BUILD)
	@[ "$$(cat $@ 2>/dev/null)" = "$(VERSION)" ] || echo "$(VERSION)" > $@

# Each tool is compiled once per content of internal/tools/go.mod.
$(TOOLS)/actionlint:    TOOL := github.com/rhysd/actionlint/cmd/actionlint
$(TOOLS)/gofumpt:       TOOL := mvdan.cc/gofumpt
$(TOOLS)/goimports:     TOOL := golang.org/x/tools/cmd/goimports
$(TOOLS)/golangci-lint: TOOL := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
$(TOOLS)/gotestsum:     TOOL := gotest.tools/gotestsum
$(TOOLS)/govulncheck:   TOOL := golang.org/x/vuln/cmd/govulncheck
$(TOOLS)/mdatagen:      TOOL := go.opentelemetry.io/collector/cmd/mdatagen
$(TOOLS)/ocb:           TOOL := go.opentelemetry.io/collector/cmd/builder

$(TOOLS)/%: internal/tools/go.mod internal/tools/go.sum
	@mkdir -p $(TOOLS)
	$(RELEASE_ENV) $(GO) -C internal/tools build $(RELEASE_FLAGS) -ldflags='$(LDFLAGS)' -o $(ROOT)/$@ $(TOOL)
	@touch $@
