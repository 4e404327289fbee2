# SPDX-License-Identifier: GPL-2.0
#
# The Makefile of the selftests in the small "kernel": one program, one wrapper.

install:
	mkdir -p $(KSFT_INSTALL_PATH)/mm
	gcc -static $(EXTRA_CFLAGS) -o $(KSFT_INSTALL_PATH)/mm/prog mm/prog.c
	cp mm/wrapper mm/data $(KSFT_INSTALL_PATH)/mm
	cp run_kselftest.sh $(KSFT_INSTALL_PATH)
	echo mm:wrapper >$(KSFT_INSTALL_PATH)/kselftest-list.txt
