# make test does everything on a fresh machine that has Go, Node, make and git.
.PHONY: test run vet lint unit portable web browser clients setup fuzz proof clean

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
# Looked up each time it is used, so that browser finds what setup has installed.
CHROMIUM ?= $(or $(shell command -v chromium),$(shell command -v chromium-browser),$(shell command -v google-chrome))
FUZZTIME ?= 30s
JSROUNDS ?= 10000
SEEDS ?= $(shell seq 5001 5020)
KVSEEDS ?= $(shell seq 5101 5110)
CHAOSTIME ?= 60s

test: vet lint unit portable web browser clients

run:
	go run ./cmd/roomd

# Formatting, vet here and for macOS, where the portable poller serves.
vet:
	@files=$$(gofmt -l $$(go list -f '{{.Dir}}/*.go' ./...)); test -z "$$files" || { echo "not gofmt'ed: $$files"; exit 1; }
	go vet ./...
	GOOS=darwin go vet ./...

lint:
	go run $(STATICCHECK) ./...

unit: setup
	go test -race -timeout 8m ./...

# The same edge on the poller that other systems than Linux use.
portable:
	go test -tags roomd_portable ./edge ./client

# The JavaScript client in Node, against a server of its own.
web: client/node_modules
	cd client && node --test

# Real pages in a real browser.
browser: cmd/roomd/webtest/node_modules setup
	cd cmd/roomd/webtest && CHROMIUM="$(CHROMIUM)" node --test

# Redis clients from npm, and what is built on them, against the Redis front.
# REDIS_SERVER=redis-server runs the same tests against the real one.
clients: kv/front/clienttest/node_modules setup
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
	go build -o "$$dir/roomd" ./cmd/roomd && cd kv/front/clienttest && ROOMD_BINARY="$$dir/roomd" npm test

client/node_modules: client/package.json client/package-lock.json
	cd client && npm ci --no-audit --no-fund
	@touch $@

cmd/roomd/webtest/node_modules: cmd/roomd/webtest/package.json cmd/roomd/webtest/package-lock.json
	cd cmd/roomd/webtest && npm ci --no-audit --no-fund
	@touch $@

kv/front/clienttest/node_modules: kv/front/clienttest/package.json kv/front/clienttest/package-lock.json
	cd kv/front/clienttest && npm ci --no-audit --no-fund
	@touch $@

# A browser and a real Redis, which says what is right, from the system's
# packages if there are none yet. Tests start their own servers, so it does not
# matter whether one of the system's runs.
setup:
	@missing="$(if $(CHROMIUM),,chromium) $(if $(shell command -v redis-server),,redis-server)"; \
	if [ -z "$${missing# }" ]; then exit 0; fi; \
	if ! command -v apt-get >/dev/null; then echo "not found: $$missing: install it (for Chromium, or set CHROMIUM=/path/to/it)"; exit 1; fi; \
	echo "not found: $$missing: installing it"; \
	sudo=$$(test "$$(id -u)" = 0 || echo sudo); \
	$$sudo apt-get update -q && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qy $$missing

# Every fuzz target for FUZZTIME each, and the JavaScript client for JSROUNDS
# rounds. All run, also behind one that fails.
fuzz: client/node_modules
	@failed=; for pkg in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			echo "$$pkg $$target"; \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x $$pkg || failed="$$failed $$target"; \
		done; \
	done; \
	cd client && ROOMD_FUZZ_ROUNDS=$(JSROUNDS) node --test test/hostile.test.mjs || failed="$$failed hostile.test.mjs"; \
	test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

# What takes longer than a test may: chaos over SEEDS and kvchaos over KVSEEDS,
# then all fuzz targets. What each seed printed stays in a directory that the
# summary names. All run to the end; it fails if any of them has failed.
proof: # calls make by name: with its variable, make -n would run all this
	@dir=$$(mktemp -d) && failed=0 && go build -o "$$dir/loadtest" ./loadtest || exit 1; \
	prove() { \
		echo "$$1 $$2"; \
		if "$$dir/loadtest" $$1 -seed $$2 -for $(CHAOSTIME) >"$$dir/$$1-$$2.log" 2>&1; then echo "ok    $$1 $$2" >>"$$dir/summary"; \
		else failed=1; echo "FAIL  $$1 $$2  $$dir/$$1-$$2.log" >>"$$dir/summary"; fi; \
	}; \
	for seed in $(SEEDS); do prove chaos $$seed; done; \
	for seed in $(KVSEEDS); do prove kvchaos $$seed; done; \
	if make --no-print-directory fuzz >"$$dir/fuzz.log" 2>&1; then echo "ok    fuzz" >>"$$dir/summary"; \
	else failed=1; echo "FAIL  fuzz  $$dir/fuzz.log" >>"$$dir/summary"; fi; \
	cat "$$dir/summary"; echo "output of each: $$dir"; exit $$failed

clean:
	rm -rf client/node_modules cmd/roomd/webtest/node_modules kv/front/clienttest/node_modules
