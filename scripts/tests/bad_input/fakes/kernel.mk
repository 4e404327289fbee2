# SPDX-License-Identifier: GPL-2.0
#
# The Makefile of the small "kernel": what the lab asks of the real one. DROP is a symbol
# that its Kconfig does not have, REAL_KERNEL a kernel to use as the result, SLOW_CC a file that
# says when a compilation that never ends has begun.

allnoconfig:
	@grep -v '=n$$' $(KCONFIG_ALLCONFIG) | grep -v '^$(or $(DROP),-)=' >$(O)/.config

prepare:
	@mkdir -p $(O)/include/config
	@touch $(O)/include/config/auto.conf

bzImage: $(O)/mm/oom_kill.o
	@mkdir -p $(O)/arch/x86/boot
	@if [ -n "$(REAL_KERNEL)" ]; then cp $(REAL_KERNEL) $(O)/arch/x86/boot/bzImage; \
	else cat mm/*.c >$(O)/arch/x86/boot/bzImage; fi

$(O)/%.o: %.c FORCE
	@mkdir -p $(@D)
	@if [ -n "$(SLOW_CC)" ]; then touch $(SLOW_CC); sleep 300; fi
	@echo "  CC      $*.o"
	@$(CC) -Wall -c -o $@ $<

mm/%.o: $(O)/mm/%.o ;
headers FORCE:
.PHONY: FORCE
