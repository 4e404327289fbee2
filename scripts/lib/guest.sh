#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# accel - print the QEMU accelerator that works here: "kvm" or "tcg,thread=multi"
#
# Usage: scripts/accel BZIMAGE INITRAMFS
#
# That /dev/kvm opens says nothing: there are hosts on which it runs firmware
# and hangs in a kernel. So this boots the kernel at hand as far as its init,
# in at most 10 seconds. ACCEL=... in the environment is taken as it is.
# Exit: 0 printed; 1 no QEMU, or no kernel to try.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

qemu=${QEMU:-qemu-system-x86_64}
command -v "$qemu" >/dev/null || die "no $qemu: run scripts/setup (package qemu-system-x86)"
if [ -n "${ACCEL:-}" ]; then
	echo "$ACCEL"
	exit 0
fi
[ $# = 2 ] || die "usage: scripts/accel BZIMAGE INITRAMFS"
if [ -w /dev/kvm ]; then
	TMP=$(mktemp -d)
	run timeout -k 1 10 "$qemu" -accel kvm -smp "${SMP:-2}" -m 1G -nodefaults -display none \
		-no-reboot -serial "file:$TMP/console" -kernel "$1" -initrd "$2" \
		-append "console=ttyS0 panic=-1 lab.probe" >/dev/null 2>&1 </dev/null || true
	if grep -qs 'lab: alive' "$TMP/console"; then
		echo kvm
		exit 0
	fi
fi
echo tcg,thread=multi
