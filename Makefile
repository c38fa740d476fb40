# The verbs people type; Meson and Ninja do the work.
BUILD ?= build
PREFIX ?= /usr/local

.PHONY: all deps test demo bench fuzz install deb clean

all: $(BUILD)/build.ninja
	ninja -C $(BUILD)

$(BUILD)/build.ninja:
	tools/deps.sh build
	meson setup $(BUILD) --prefix=$(PREFIX)

# Installs what is missing for building, testing and the demo; silent when all is there.
deps:
	tools/deps.sh build test demo

test:
	tests/run-all.sh

demo:
	tools/deps.sh build demo
	$(MAKE) --no-print-directory all
	tools/demo.sh

bench: all
	bench/run.sh

# A longer run of the fuzz targets: make fuzz SECONDS_EACH=600
SECONDS_EACH ?= 60
fuzz:
	tools/deps.sh build test
	tests/fuzz/run.sh $(SECONDS_EACH)

install: all
	ninja -C $(BUILD) install

# Debian packages, in build-deb.
deb:
	tools/deps.sh build deb
	tools/deb.sh

clean:
	rm -rf $(BUILD) build-deb build-clang build-asan build-fuzz build-test
