#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# run_kselftest.sh - the runner of the small "kernel": one test, that may go wrong
#
# Usage: run_kselftest.sh
#
# The kernel's command line says what goes wrong: bad.panic, bad.hang (the test), bad.flood
# (the console), bad.stuck (all CPUs), bad.splat.
case ${1:-} in -h | --help) sed -n '4,/^[^#]/s/^# \?//p' "$0"; exit ;; esac
printf '%s\n' 'TAP version 13' 1..1 '# selftests: mm: wrapper'
case $(cat /proc/cmdline) in
*bad.panic*) echo c >/proc/sysrq-trigger ;;
*bad.hang*) sleep 1000 ;;
*bad.flood*)
	echo on >/proc/sys/kernel/printk_devkmsg
	while :; do echo '<2>a flood of messages, as a broken driver prints it'; done >/dev/kmsg
	;;
*bad.splat*) echo '<2>BUG: sleeping function called from invalid context' >/dev/kmsg ;;
esac
printf '%s\n' '# ok 1 prog' 'ok 1 selftests: mm: wrapper'
