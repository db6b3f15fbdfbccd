# Copyright The Zastava Authors
# SPDX-License-Identifier: Apache-2.0
#
# `make help` lists what there is to do. Everything is made under build/; `make clean` leaves a fresh clone.

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

# The race detector needs a C compiler. Without one the tests run all the same, and `make test` says so.
RACE := $(if $(shell command -v $(or $(CC),gcc) 2>/dev/null),-race)

# What the binaries are compiled from. Folders are in the list because their times change when a file comes or goes.
SOURCES := go.mod go.sum $(shell find cmd exporter extension internal receiver \
	-path internal/tools -prune -o \( -type d -o -type f ! -name '*_test.go' \) -print 2>/dev/null)

##@ Use

.PHONY: run
run: ## See it work: a runtime, the collector and the backend with its page on this machine (PORT=8686, DEMO_FLAGS=)
	@$(if $(wildcard $(COLLECTOR)),,echo "Building the slim collector, the backend and the demo: a few minutes, the first time only." >&2;) \
	$(MAKE) --no-print-directory -j2 $(COLLECTOR) $(BUILD)/zastava-backend $(BUILD)/zastava-demo
	@exec $(BUILD)/zastava-demo --collector $(COLLECTOR) --backend $(BUILD)/zastava-backend \
		--config collector-config.yaml $(if $(PORT),--port $(PORT)) $(DEMO_FLAGS)

# The distribution that `run` uses: the full one where it has been built, else the slim one.
COLLECTOR := $(firstword $(wildcard $(BUILD)/otelcol-zastava) $(BUILD)/otelcol-zastava-slim)

.PHONY: build
build: $(BUILD)/otelcol-zastava $(BUILD)/zastava-backend ## The full distribution and the reference backend

.PHONY: slim
slim: $(BUILD)/otelcol-zastava-slim ## The slim distribution: what collector-config.yaml uses, for small nodes and quick builds

.PHONY: build-windows
build-windows: $(BUILD)/otelcol-zastava-slim_windows_amd64.exe ## The slim distribution for Windows on amd64

.PHONY: build-windows-full
build-windows-full: $(BUILD)/otelcol-zastava_windows_amd64.exe ## The full distribution for Windows on amd64

.PHONY: build-arm64
build-arm64: $(BUILD)/otelcol-zastava-slim_linux_arm64 ## The slim distribution for Linux on arm64

##@ Check

.PHONY: test
test: $(TOOLS)/gotestsum $(BUILD)/otelcol-zastava-slim $(BUILD)/zastava-backend ## All tests under the race detector, with a real runtime where root can start one; names what was skipped
	$(if $(RACE),,@echo "No C compiler: testing without the race detector. Install gcc to have it." >&2)
	$(call gotestsum,$(RACE) -timeout 20m ./...)

.PHONY: e2e
e2e: $(TOOLS)/gotestsum $(BUILD)/otelcol-zastava-slim $(BUILD)/zastava-backend ## All tests again, the long ones against real runtimes included
	ZASTAVA_E2E=long $(call gotestsum,$(RACE) -timeout 120m ./...)

# The packages whose own tests run under Wine 8. It removes no directory as Go's tests clean up theirs, and has no Unix sockets.
WINDOWS_PACKAGES := ./internal/backendapi ./internal/checkpoint ./internal/observer ./internal/record ./internal/runtime/containerd \
	./internal/runtime/cri ./internal/runtime/detect ./internal/runtime/docker ./internal/test/namedpipe ./internal/tracker

.PHONY: e2e-windows
e2e-windows: $(TOOLS)/gotestsum $(BUILD)/otelcol-zastava-slim $(BUILD)/zastava-backend $(BUILD)/otelcol-zastava-slim_windows_amd64.exe $(BUILD)/wine/pipebridge.exe ## The Windows build under Wine, as a service over a named pipe to a real Docker; root gets wine and mingw-w64 installed
	internal/test/wine/prepare
	GOOS=windows GOARCH=amd64 $(RELEASE_ENV) $(call gotestsum,$(RELEASE_FLAGS) -count=1 -timeout 5m -exec $(ROOT)/internal/test/wine/run $(WINDOWS_PACKAGES))
	# Its other tests need Unix sockets of their own.
	GOOS=windows GOARCH=amd64 $(RELEASE_ENV) $(call gotestsum,$(RELEASE_FLAGS) -count=1 -timeout 5m -exec $(ROOT)/internal/test/wine/run \
		-run '^Test(Host|LoadConfig|Config|Validate|Which|What|Component|PlainTCP|Shutdown|Metadata)' ./receiver/criobserverreceiver)
	ZASTAVA_WINE=$(ROOT)/$(BUILD)/wine ZASTAVA_TEST_REQUIRE_RUNTIME=1 ZASTAVA_TEST_REQUIRE_DOCKER=1 $(call gotestsum,$(RACE) -count=1 -timeout 15m -run '^TestWindows' ./internal/test/e2e)

.PHONY: runtimes
runtimes: $(RUNTIMES)/containerd17/containerd $(RUNTIMES)/containerd2/containerd $(RUNTIMES)/docker29/dockerd ## containerd 1.7 and 2.x and dockerd 29 for the tests, from their modules (minutes, once); without them the tests run on the system's

.PHONY: bench
bench: ## Every benchmark of the repository, to the terminal (BENCH=regexp, BENCH_FLAGS=)
	$(GO) test -run='^$$' -bench='$(or $(BENCH),.)' -benchmem -timeout 60m $(BENCH_FLAGS) \
		$$(grep -rl --include='*_test.go' '^func Benchmark' cmd exporter extension internal receiver | xargs -n1 dirname | sort -u | sed 's|^|./|')

.PHONY: validate
validate: build/otelcol-zastava ## Every collector configuration of the repository, documentation included, against the full distribution
	ZASTAVA_OTELCOL=$(ROOT)/$< $(GO) test -count=1 ./internal/test/distro

.PHONY: lint
lint: $(TOOLS)/golangci-lint ## go vet, the linters and the formatting check of .golangci.yml
	$(RELEASE_ENV) GOFLAGS="$(RELEASE_FLAGS)" $(TOOLS)/golangci-lint run

.PHONY: vulncheck
vulncheck: $(TOOLS)/govulncheck ## Known vulnerabilities in what our code reaches
	$(TOOLS)/govulncheck ./...

.PHONY: tidy-check
tidy-check: ## Fail when go.mod or go.sum is not what go mod tidy would write
	$(GO) mod tidy -diff
	$(GO) -C internal/tools mod tidy -diff

##@ Change

.PHONY: generate
generate: $(TOOLS)/mdatagen $(TOOLS)/goimports ## Code and documentation from each metadata.yaml
	PATH="$(ROOT)/$(TOOLS):$$PATH" $(GO) generate ./...
	# mdatagen 0.159 forgets the import of filter in components that have events and no metrics; goimports adds it.
	find cmd exporter extension internal receiver -name 'generated_*.go' -print0 2>/dev/null | xargs -0r $(TOOLS)/goimports -w
	# mdatagen knows only the distributions of the OpenTelemetry project and leaves the link of ours empty.
	sed -i 's|^\[zastava\]: *$$|[zastava]: ../../builder-config.yaml|' exporter/*/README.md extension/*/README.md receiver/*/README.md

.PHONY: screenshots
screenshots: ## The picture of the page in docs/images, taken by Chromium; changes only when the page does
	ZASTAVA_SCREENSHOTS=$(ROOT)/docs/images ZASTAVA_TEST_REQUIRE_RUNTIME=1 $(GO) test -count=1 -run '^TestScreenshotIsTaken$$' ./internal/backend/page

.PHONY: fmt
fmt: $(TOOLS)/gofumpt $(TOOLS)/goimports ## Format all Go code
	git ls-files -z --cached --others --exclude-standard '*.go' ':!**/generated_*.go' | xargs -0r $(TOOLS)/goimports -local github.com/zastava-otel/zastava -w
	git ls-files -z --cached --others --exclude-standard '*.go' ':!**/generated_*.go' | xargs -0r $(TOOLS)/gofumpt -extra -w

.PHONY: tools
tools: $(addprefix $(TOOLS)/,gofumpt goimports golangci-lint gotestsum govulncheck mdatagen ocb) ## The build tools, pinned in internal/tools/go.mod, into build/tools

.PHONY: clean
clean: ## Remove build/
	rm -rf $(BUILD)

.PHONY: help
help: ## This list
	@awk 'BEGIN { FS = ":.*## " } /^##@ / { printf "%s%s\n", sep, substr($$0, 5); sep = "\n" } \
		/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# --- How things are made -----------------------------------------------------------------------------------------------

# A line for each package, and at the end what failed with its output, and the names of skipped tests with their reasons.
gotestsum = $(TOOLS)/gotestsum --format standard-quiet -- $(1)

# ocb writes the main package of a distribution from its manifest; go compiles it. ocb reads `dist.version` from the
# environment. It is run again at every change of a source, because a new import may change the generated go.mod; that takes
# a second once the modules are there.
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

# What stands for a Windows engine's end of a pipe in the tests.
$(BUILD)/wine/pipebridge.exe: $(wildcard internal/test/e2e/pipebridge/*.go internal/test/namedpipe/*.go) go.mod
	GOOS=windows GOARCH=amd64 $(go_build) -o $@ ./internal/test/e2e/pipebridge

$(BUILD)/otelcol-zastava-slim_linux_arm64: $(BUILD)/_otelcol-slim.stamp
	cd $(BUILD)/_otelcol-slim && GOOS=linux GOARCH=arm64 $(go_build) -o ../$(@F) .
	@touch $@

$(BUILD)/zastava-backend $(BUILD)/zastava-demo: $(SOURCES)
	$(go_build) -o $@ ./cmd/$(@F)
	@touch $@

# Each containerd is compiled once for a given go.mod of it: the daemon, its shim and ctr, which are the module's tools.
$(RUNTIMES)/containerd17/containerd: MODULE := github.com/containerd/containerd
$(RUNTIMES)/containerd2/containerd:  MODULE := github.com/containerd/containerd/v2

$(RUNTIMES)/%/containerd: internal/privateruntime/versions/%/go.mod internal/privateruntime/versions/%/go.sum
	@mkdir -p $(@D)
	cd $(<D) && version=$$($(GO) list -m -f '{{.Version}}' $(MODULE)) && \
		$(RELEASE_ENV) $(GO) build $(RELEASE_FLAGS) -ldflags="$(LDFLAGS) -X $(MODULE)/version.Version=$${version#v}" -o $(ROOT)/$(@D)/ tool
	@touch $@

# dockerd 29 runs on containerd 2, and on a runc that is newer than Debian's: that one needs a C compiler.
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

# Each tool is compiled once for a given internal/tools/go.mod.
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
