# Slipway: `make demo` shows it, `make test` proves it, `make help` lists the rest.

VERSION := 0.1.0

CC ?= gcc
PKG_CONFIG ?= pkg-config
PYTHON := /usr/bin/python3
PYTEST := /usr/bin/pytest-3

prefix ?= /usr/local
bindir ?= $(prefix)/bin
datadir ?= $(prefix)/share
sysconfdir ?= /etc
unitdir ?= /lib/systemd/system
sysusersdir ?= /usr/lib/sysusers.d
tmpfilesdir ?= /usr/lib/tmpfiles.d
DESTDIR ?=

# One variant a folder: build/plain, build/dev, build/asan, build/tsan, or any B= of yours.
comma := ,
ifneq ($(findstring address,$(SAN)),)
variant := asan
else ifneq ($(findstring thread,$(SAN)),)
variant := tsan
else ifdef DEV
variant := dev
else
variant := plain
endif
B ?= build/$(variant)

# --- libraries -----------------------------------------------------------------------------------
packages := libcurl jansson yaml-0.1 libcrypto sqlite3 libpcre2-8
LIB_CFLAGS = $(shell $(PKG_CONFIG) --cflags $(packages))
LIB_LIBS = $(shell $(PKG_CONFIG) --libs $(packages)) -lfcgi -lpthread

# --- flags (OpenSSF compiler hardening guide; what GCC 12 lacks is left out) ---------------------
warnings := -Wall -Wextra -Wformat=2 -Wconversion -Wno-sign-conversion -Wshadow -Wpointer-arith \
	-Wwrite-strings -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wvla \
	-Wundef -Wimplicit-fallthrough -Werror=format-security -Wtrampolines
hardening := -fstack-protector-strong -fstack-clash-protection -ftrivial-auto-var-init=zero \
	-fno-delete-null-pointer-checks -fno-strict-overflow -fno-strict-aliasing -fexceptions \
	-fzero-call-used-regs=used-gpr
ifeq ($(shell uname -m),x86_64)
hardening += -fcf-protection=full
endif
optimise := -O2
ifdef SAN
optimise := -O1 -fno-omit-frame-pointer -fsanitize=$(SAN) -fno-sanitize-recover=all
sanitizer_ld := -fsanitize=$(SAN)
else
hardening += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
endif
ifneq ($(or $(DEV),$(SAN)),)
warnings += -Werror
endif
CFLAGS ?= -g
all_cflags = -std=gnu11 $(optimise) $(CFLAGS) $(warnings) $(hardening) -fPIE -I. -I$(B) \
	-ffile-prefix-map=$(CURDIR)=. $(LIB_CFLAGS) $(CPPFLAGS)
all_ldflags = -pie -Wl,-z,relro,-z,now,-z,noexecstack,--as-needed $(sanitizer_ld) $(LDFLAGS)

# --- files ---------------------------------------------------------------------------------------
core_src := $(sort $(wildcard core/*/*.c config/*.c))
face_src := $(sort $(filter-out cgi/main.c,$(wildcard cgi/*.c cgi/*/*.c)))
unit_src := $(sort $(wildcard tests/unit/t_*.c))
fuzz_src := $(sort $(wildcard tests/fuzz/fuzz_*.c))
bench_src := $(sort $(wildcard tests/bench/*.c))
headers := $(sort $(wildcard core/*/*.h config/*.h cgi/*.h cgi/*/*.h tests/unit/*.h))
core_obj := $(core_src:%.c=$(B)/%.o)
face_obj := $(face_src:%.c=$(B)/%.o)
unit_bin := $(unit_src:tests/unit/%.c=$(B)/unit/%)
fuzz_bin := $(fuzz_src:tests/fuzz/%.c=$(B)/fuzz/%)
bench_bin := $(bench_src:tests/bench/%.c=$(B)/bench/%)

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all demo test unit box bench torture fuzz lint check-layout install uninstall compdb clean help \
	programs

all: $(B)/slipway

$(B)/slipway: $(B)/cgi/main.o $(face_obj) $(B)/libcore.a
	$(CC) $(all_ldflags) -o $@ $^ $(LIB_LIBS)

$(B)/libcore.a: $(core_obj)
	@rm -f $@
	ar rcsD $@ $^

$(B)/libface.a: $(face_obj)
	@rm -f $@
	ar rcsD $@ $^

$(B)/version.h: Makefile
	@mkdir -p $(@D)
	printf '#define SLIPWAY_VERSION "%s"\n' '$(VERSION)' > $@

$(B)/%.o: %.c | $(B)/version.h
	@mkdir -p $(@D)
	$(CC) $(all_cflags) -MMD -MP -c -o $@ $<

$(B)/unit/%: $(B)/tests/unit/%.o $(B)/libface.a $(B)/libcore.a
	@mkdir -p $(@D)
	$(CC) $(all_ldflags) -o $@ $^ $(LIB_LIBS) -lcmocka

$(B)/bench/%: $(B)/tests/bench/%.o $(B)/libcore.a
	@mkdir -p $(@D)
	$(CC) $(all_ldflags) -o $@ $^ $(LIB_LIBS)

-include $(shell find $(B) -name '*.d' 2>/dev/null)
