# SPDX-License-Identifier: GPL-2.0
# Each target is a command of scripts/lab, which works without make. Arguments of the
# command are in ARGS: make shell ARGS=thaw-processes

.DEFAULT_GOAL := boot

%: FORCE
	@./scripts/lab $@ $(ARGS)

Makefile FORCE: ;
