# Slipway: `make demo` shows it, `make test` proves it, `make help` lists the rest.

VERSION := 0.1.0

CC ?= gcc
PKG_CONFIG ?= pkg-config
PYTHON := /usr/bin/python3
PYTEST := /usr/bin/pytest-3
INSTALL ?= install
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
FUZZ_SECONDS ?= 60

prefix ?= /usr/local
bindir ?= $(prefix)/bin
datadir ?= $(prefix)/share
sysconfdir ?= /etc
unitdir ?= /lib/systemd/system
sysusersdir ?= /usr/lib/sysusers.d
tmpfilesdir ?= /usr/lib/tmpfiles.d
DESTDIR ?=

# One variant a folder: build/plain, build/dev, build/asan, build/tsan, build/fuzz, or any B= of
# yours; targets that need several variants keep them below it.
ifneq ($(findstring fuzzer,$(SAN)),)
variant := fuzz
else ifneq ($(findstring address,$(SAN)),)
variant := asan
else ifneq ($(findstring thread,$(SAN)),)
variant := tsan
else ifdef DEV
variant := dev
else
variant := plain
endif
builds := $(if $(filter command,$(firstword $(origin B))),$(B),build)
B ?= build/$(variant)

# --- libraries (asked for at first use: `make demo` must work before they are there) -------------
packages := libcurl jansson yaml-0.1 libcrypto sqlite3 libpcre2-8
LIB_CFLAGS = $(eval LIB_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(packages)))$(LIB_CFLAGS)
LIB_LIBS = $(eval LIB_LIBS := $(shell $(PKG_CONFIG) --libs $(packages)) -lfcgi -lpthread)$(LIB_LIBS)

# --- flags (OpenSSF compiler hardening guide; what GCC 12 lacks is left out) ---------------------
warnings := -Wall -Wextra -Wformat=2 -Wconversion -Wno-sign-conversion -Wshadow -Wpointer-arith \
	-Wwrite-strings -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wvla \
	-Wundef -Wimplicit-fallthrough -Werror=format-security
hardening := -fstack-protector-strong -fstack-clash-protection -fno-delete-null-pointer-checks \
	-fno-strict-overflow -fno-strict-aliasing -fexceptions
ifeq ($(findstring clang,$(CC)),)
warnings += -Wtrampolines
hardening += -ftrivial-auto-var-init=zero -fzero-call-used-regs=used-gpr
else
warnings += -Wno-format-nonliteral
endif
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
# libFuzzer brings a main of its own, so only the fuzz targets are linked with it.
ifeq ($(variant),fuzz)
optimise := -O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined \
	-fno-sanitize-recover=all
endif
ifneq ($(or $(DEV),$(SAN)),)
warnings += -Werror
endif
CFLAGS ?= -g
all_cflags = -std=gnu11 $(optimise) $(CFLAGS) $(warnings) $(hardening) -fPIE -I. -I$(B) \
	-ffile-prefix-map=$(CURDIR)=. $(LIB_CFLAGS) $(CPPFLAGS)
all_ldflags = -pie -Wl,-z,relro,-z,now,-z,noexecstack,--as-needed $(sanitizer_ld) $(LDFLAGS)

# --- files ---------------------------------------------------------------------------------------
core_src := $(sort $(wildcard core/*/*.c core/*/*/*.c config/*.c))
face_src := $(sort $(filter-out cgi/main.c,$(wildcard cgi/*.c cgi/*/*.c)))
unit_src := $(sort $(wildcard tests/unit/t_*.c))
unit_help_src := $(sort $(filter-out $(unit_src),$(wildcard tests/unit/*.c)))
fuzz_src := $(sort $(wildcard tests/fuzz/fuzz_*.c))
bench_src := $(sort $(wildcard tests/bench/*.c))
headers := $(sort $(wildcard core/*/*.h core/*/*/*.h config/*.h cgi/*.h cgi/*/*.h tests/unit/*.h))
core_obj := $(core_src:%.c=$(B)/%.o)
face_obj := $(face_src:%.c=$(B)/%.o)
unit_help_obj := $(unit_help_src:%.c=$(B)/%.o)
unit_bin := $(unit_src:tests/unit/%.c=$(B)/unit/%)
fuzz_bin := $(fuzz_src:tests/fuzz/%.c=$(B)/fuzz/%)
bench_bin := $(bench_src:tests/bench/%.c=$(B)/bench/%)
programs_src := $(core_src) $(face_src) cgi/main.c
tidy_src := $(programs_src) $(unit_src) $(unit_help_src) $(fuzz_src) $(bench_src)

# What is run again under ThreadSanitizer: whatever has threads.
tsan_units := t_http t_http_stream t_http_land t_http_reach t_store t_store_open \
	t_store_journal t_store_staged t_store_group t_store_faults t_receive t_registry \
	t_registry_fake t_wake t_locks t_base_log t_git t_proc t_fs t_crypt t_crypt_key \
	t_pattern t_flow t_blob t_layout t_copy t_copy_order t_copy_companions t_referrers \
	t_registry_auth t_registry_pace t_report t_store_report t_store_lanes t_store_rollback \
	t_zuul t_credentials t_quirks t_git_checkout
tsan_box := tests/box/test_serve.py tests/box/test_promote.py

# Quiet by default: `  CC core/x.o`. V=1 shows the commands.
Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-5s %s\n' '$(1)' '$(patsubst $(B)/%,%,$(2))')
sub := $(MAKE) --no-print-directory

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all demo test unit box replay bench bench-programs fuzz fuzz-run lint install uninstall \
	compdb clean help lint-format lint-tidy lint-cppcheck lint-layers lint-headers \
	lint-sizes lint-words lint-shell lint-python lint-units

# --- programs ------------------------------------------------------------------------------------
all: $(B)/slipway

$(B)/slipway: $(B)/cgi/main.o $(face_obj) $(B)/libcore.a
	$(call say,LD,$@)
	$(Q)$(CC) $(all_ldflags) -o $@ $^ $(LIB_LIBS)

$(B)/libcore.a: $(core_obj)
	$(call say,AR,$@)
	$(Q)rm -f $@
	$(Q)ar rcsD $@ $^

$(B)/libface.a: $(face_obj)
	$(call say,AR,$@)
	$(Q)rm -f $@
	$(Q)ar rcsD $@ $^

$(B)/version.h: Makefile
	$(Q)mkdir -p $(@D)
	$(Q)printf '#define SLIPWAY_VERSION "%s"\n' '$(VERSION)' > $@

$(B)/%.o: %.c | $(B)/version.h
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(all_cflags) -MMD -MP -c -o $@ $<

$(B)/unit/%: $(B)/tests/unit/%.o $(unit_help_obj) $(B)/libface.a $(B)/libcore.a
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(all_ldflags) -o $@ $^ $(LIB_LIBS) -lcmocka

$(B)/bench/%: $(B)/tests/bench/%.o $(B)/libcore.a
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(all_ldflags) -o $@ $^ $(LIB_LIBS)

# The same targets serve libFuzzer (make fuzz) and, with a main of our own, gcc (make replay).
$(B)/tests/fuzz/%.o: warnings += -Wno-missing-prototypes
fuzz_main := $(if $(filter fuzz,$(variant)),,$(B)/tests/fuzz/replay.o)
$(B)/fuzz/%: $(B)/tests/fuzz/%.o $(fuzz_main) $(B)/libface.a $(B)/libcore.a
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(all_ldflags) -o $@ $^ $(LIB_LIBS)

-include $(shell find $(B) -type f -name '*.d' 2>/dev/null)

# --- what people call ----------------------------------------------------------------------------
demo:
	@deploy/bootstrap demo
	@+$(sub) -j$(JOBS) all
	@$(PYTHON) deploy/demo.py --slipway $(B)/slipway --dir build/demo

# Everything under AddressSanitizer and UndefinedBehaviorSanitizer, then what has threads under
# ThreadSanitizer. The first part that fails ends it.
asan := SAN=address,undefined DEV= B=$(builds)/asan
tsan := SAN=thread DEV= B=$(builds)/tsan
test:
	@deploy/bootstrap test
	@+$(sub) -j$(JOBS) $(asan) unit
	@+$(sub) -j$(JOBS) $(asan) replay
	@+$(sub) -j$(JOBS) $(asan) box
	@+$(sub) -j$(JOBS) $(tsan) unit units='$(tsan_units)'
	@+$(sub) -j$(JOBS) $(tsan) box box='$(tsan_box)'

# `make unit units="t_str t_yaml"` and `make box box=tests/box/test_serve.py` run a part.
units ?= $(unit_src:tests/unit/%.c=%)
unit: $(patsubst %,$(B)/unit/%,$(units))
	@$(PYTHON) tests/check/units.py $^

box ?= tests/box
box: $(B)/slipway
	@SLIPWAY_BIN=$(abspath $(B)/slipway) $(PYTHON) tests/check/box.py $(PYTEST) $(box)

replay: $(fuzz_bin)
	@$(PYTHON) tests/check/replay.py $^

fuzz:
	@deploy/bootstrap fuzz
	@+$(sub) -j$(JOBS) CC=clang SAN=fuzzer,address,undefined DEV= B=$(builds)/fuzz fuzz-run

fuzz-run: $(fuzz_bin)
	@$(PYTHON) tests/check/fuzz.py --seconds $(FUZZ_SECONDS) --keep $(B)/corpus $^

bench-programs: $(bench_bin)

bench:
	@deploy/bootstrap bench
	@+$(sub) -j$(JOBS) all bench-programs
	@$(PYTHON) tests/bench/run.py --slipway $(B)/slipway --programs $(B)/bench \
		--dir $(builds)/bench-run $(BENCH)
	@$(B)/bench/store_fairness $(builds)/bench-run

# --- lint: each rule is a target, so that one can be asked alone ---------------------------------
lint_parts := lint-format lint-layers lint-headers lint-sizes lint-words lint-shell lint-python \
	lint-units lint-cppcheck lint-tidy
lint:
	@deploy/bootstrap lint
	@+$(sub) -j$(JOBS) -k -Otarget DEV=1 B=$(builds)/dev $(lint_parts)
	@echo 'lint: nothing found'

lint-format:
	$(call say,LINT,format)
	$(Q)clang-format --dry-run -Werror $(tidy_src) $(headers) $(wildcard tests/fuzz/replay.c)

# These define what analyzer.h turns into macros.
tidy_plain := core/base/err.c core/base/str.c
tidy_ok := $(tidy_src:%=$(B)/tidy/%.ok)
lint-tidy: $(tidy_ok)

$(B)/tidy/%.ok: % .clang-tidy tests/.clang-tidy tests/check/analyzer.h $(headers) | $(B)/version.h
	$(call say,TIDY,$<)
	$(Q)mkdir -p $(@D)
	$(Q)clang-tidy --quiet $< -- -std=gnu11 -I. -I$(B) $(LIB_CFLAGS) \
		$(if $(filter $(tidy_plain),$<),,-include tests/check/analyzer.h) 2>$@.err || \
		{ grep -v ' warnings\? generated' $@.err; false; }
	$(Q)touch $@

lint-cppcheck: | $(B)/version.h
	$(call say,LINT,cppcheck)
	$(Q)mkdir -p $(B)/cppcheck
	$(Q)cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr \
		--suppress=missingIncludeSystem --suppress=varFuncNullUB --error-exitcode=1 \
		--cppcheck-build-dir=$(B)/cppcheck -I. -I$(B) $(programs_src)

lint-layers lint-sizes lint-words lint-python: lint-%:
	$(call say,LINT,$*)
	$(Q)$(PYTHON) tests/check/$*

lint-headers: | $(B)/version.h
	$(call say,LINT,headers)
	$(Q)CC='$(CC)' CFLAGS='$(all_cflags)' $(PYTHON) tests/check/headers $(headers)

lint-shell:
	$(call say,LINT,shell)
	$(Q)$(PYTHON) tests/check/shell

lint-units: $(B)/slipway
	$(call say,LINT,units)
	$(Q)$(PYTHON) tests/check/systemd $(B)/slipway

# --- installation --------------------------------------------------------------------------------
# Programs, units and documentation belong to the package; a file below sysconfdir belongs to the
# operator: one that was changed stays, and the new one is put beside it as .new.
places = DESTDIR='$(DESTDIR)' bindir='$(bindir)' datadir='$(datadir)' sysconfdir='$(sysconfdir)' \
	unitdir='$(unitdir)' sysusersdir='$(sysusersdir)' tmpfilesdir='$(tmpfilesdir)'
install: all
	@$(INSTALL) -d $(DESTDIR)$(bindir)
	$(INSTALL) -m 0755 $(B)/slipway $(DESTDIR)$(bindir)/slipway
	@$(places) sh deploy/install-files install

uninstall:
	rm -f $(DESTDIR)$(bindir)/slipway
	@$(places) sh deploy/install-files uninstall

compdb: | $(B)/version.h
	@CC='$(CC)' CFLAGS='$(all_cflags)' $(PYTHON) tests/check/compdb.py $(tidy_src) \
		> compile_commands.json

clean:
	rm -rf build compile_commands.json

help:
	@echo 'make                build $(B)/slipway (DEV=1: warnings are errors; V=1: show'
	@echo '                    commands; SAN=address,undefined or SAN=thread; B=: where)'
	@echo 'make demo           the whole thing at work here, in build/demo; Ctrl-C ends it'
	@echo 'make test           every test; parts: make unit, make replay, make box'
	@echo 'make lint           format, clang-tidy, cppcheck, layers, sizes, words, scripts'
	@echo 'make fuzz           libFuzzer, FUZZ_SECONDS=$(FUZZ_SECONDS) a target'
	@echo 'make bench          the figures of the README, as a table'
	@echo 'make install        into prefix=$(prefix) (DESTDIR= for packages); make uninstall'
	@echo 'make compdb         compile_commands.json for editors; make clean'
