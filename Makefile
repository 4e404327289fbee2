# SPDX-License-Identifier: GPL-2.0
# Each target is a command of scripts/lab; that script works without make.

COMMANDS := boot boot-all ends compare bench bench-full check lint setup fetch \
	apply debug shell kselftest-tar export sync mbox send bisect help

boot:
$(COMMANDS):
	@./scripts/lab $@ $(SERIES) $(LEVEL) $(TEST)

.PHONY: $(COMMANDS)
