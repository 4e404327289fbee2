# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The guest: its initramfs, and QEMU.

QEMU=${QEMU:-qemu-system-x86_64}

# guest LIMIT KERNEL INITRD DIR APPEND [QEMU ARG...]: runs a guest for at most LIMIT
# seconds. Its console, ttyS1 and ttyS2 go to console.log, ktap.log and dmesg.log.gz in
# DIR. The console prints errors only, because the report of an OOM kill would delay the
# CPU that is being timed; the log buffer is large enough for everything else. Returns 0,
# or 124 or 137 at the limit.
guest() {
	local limit=$1 kernel=$2 initrd=$3 dir=$4 append=$5 rc=0
	shift 5
	mkdir -p "$dir"
	run timeout -k 5 "$limit" "$QEMU" "$@" \
		-nodefaults -display none -no-reboot \
		-serial "file:$dir/console.log" -serial "file:$dir/ktap.log" \
		-serial "file:$dir/dmesg.log.gz" -kernel "$kernel" -initrd "$initrd" \
		-append "console=ttyS0 loglevel=4 log_buf_len=16M panic=-1 $append" \
		>"$dir/qemu.log" 2>&1 </dev/null || rc=$?
	if [ "$rc" != 0 ] && [ "$rc" != 124 ] && [ "$rc" != 137 ] && [ ! -s "$dir/console.log" ]; then
		die "QEMU did not run: $(tail -n 1 "$dir/qemu.log")"
	fi
	return "$rc"
}

# choose_accel IMAGE INITRAMFS: sets ACCEL to the accelerator that works here: "kvm" or
# "tcg,thread=multi". It is not enough that /dev/kvm opens: on some hosts KVM runs the
# firmware and then hangs in the kernel. So this boots IMAGE up to its init, for at most
# 10 seconds. If ACCEL is set already, it stays.
choose_accel() {
	command -v "$QEMU" >/dev/null || die "no $QEMU: run scripts/lab setup (package qemu-system-x86)"
	[ -z "${ACCEL:-}" ] || return 0
	ACCEL=tcg,thread=multi
	if [ -w /dev/kvm ]; then
		run timeout -k 1 10 "$QEMU" -accel kvm -smp "${SMP:-2}" -m 1G -nodefaults -display none \
			-no-reboot -serial "file:$TMP/probe.console" -kernel "$1" -initrd "$2" \
			-append "console=ttyS0 panic=-1 lab.probe" >/dev/null 2>&1 </dev/null || true
		if grep -qs 'lab: alive' "$TMP/probe.console"; then ACCEL=kvm; fi
	fi
	export ACCEL
}

# boot_cached IMAGE INITRAMFS DIR: boots and tests with lib/boot-one, unless an earlier boot
# without a problem had the same kernel, initramfs and QEMU arguments; FRESH=1 repeats
# these too. ACCEL must be set, KTAP_READER may be. The logs are in DIR; boot_was_cached is
# set if they come from an earlier boot. Returns 0, or the status of lib/boot-one if it
# could not run.
boot_cached() {
	local key dir=$3 rc=0
	key=$({ cat "$1" "$2" "$LIB/boot-one" "$LIB/ktap.py" ${KTAP_READER:+"$LIB/$KTAP_READER"} \
		"$TOP/scripts/guest/ktap-results"
		declare -f guest; "$QEMU" --version; echo "$ACCEL ${SMP:-} ${MEM:-} ${KARGS:-} ${CPU:-}"; } | sha)
	boot_was_cached=
	rm -rf "$dir"
	mkdir -p "${dir%/*}"
	if [ -z "${FRESH:-}" ] && [ -f "$CACHE/boots/$key/result.json" ]; then
		cp -r "$CACHE/boots/$key" "$dir"
		# shellcheck disable=SC2034 # for the callers
		boot_was_cached=1
		say "  boot and tests: cached"
		return
	fi
	progress "boot and tests" "$TMP/boot" "$LIB/boot-one" "$1" "$2" "$dir" || rc=$?
	case $rc in 0 | 2) cat "$TMP/boot" ;; *) cat "$TMP/boot" >&2 ;; esac
	if [ "$rc" = 0 ]; then
		cache_drop boots "$key"
		cache_put boots "$key" "$dir"/*
	fi
	[ "$rc" != 2 ] || rc=0
	return "$rc"
}

# The programs that pack_guest copies from this machine.
GUEST_PROGRAMS=(/bin/busybox /bin/bash /usr/bin/timeout)

# pack_guest ROOT FILE: adds busybox, bash, guest/init and all needed libraries to ROOT,
# and packs it as FILE, the initramfs of a guest.
pack_guest() {
	local root=$1 file=$2 applet lib
	mkdir -p "$root"/{bin,usr/bin,sbin,dev,proc,sys,tmp,root}
	cp /bin/busybox "$root/bin/busybox"
	for applet in $("$root/bin/busybox" --list); do
		[ -e "$root/bin/$applet" ] || ln -s busybox "$root/bin/$applet"
	done
	# run_vmtests.sh needs bash; the runner needs a timeout with --foreground, which that
	# of busybox does not have.
	cp /bin/bash "$root/bin/bash"
	cp /usr/bin/timeout "$root/usr/bin/timeout"
	ln -s /bin/env "$root/usr/bin/env"
	install -m 755 "$TOP/scripts/guest/init" "$root/init"

	# "not a dynamic executable" is not an error here.
	find "$root" -type f -perm -u+x -exec ldd {} + 2>/dev/null |
		grep -oE '/[^ ]+\.so[^ ]*' | sort -u >"$TMP/libs" || true
	while read -r lib; do
		mkdir -p "$root${lib%/*}"
		cp -L "$lib" "$root$lib"
	done <"$TMP/libs"

	# The same content makes the same file, because it is part of a boot's cache key.
	find "$root" -exec touch -h -d @0 {} +
	(cd "$root" && find . | sort | cpio -o -H newc -R 0:0 --reproducible --quiet | gzip -n) >"$file" ||
		die "cannot pack the initramfs: is the disk full?"
}

# guest_initramfs: makes INITRAMFS, which is the same for each level of each base: the
# selftests that kselftest-tar packs for this machine, busybox, bash, the libraries that
# they need, and guest/init. The result is cached.
guest_initramfs() {
	local tar key
	run env -u ARCH -u CROSS_COMPILE "$COMMANDS/kselftest-tar" || exit 1
	tar=$LAB_DIR/results/kselftest-$(uname -m | sed 's/aarch64/arm64/').tar.gz
	key=$({ cat "$tar" "${GUEST_PROGRAMS[@]}" "$TOP/scripts/guest/init"; declare -f pack_guest; } | sha)
	if [ ! -f "$CACHE/initramfs/$key/initramfs.gz" ]; then
		need_space 1
		rm -rf "$TMP/guest"
		mkdir "$TMP/guest"
		tar -xzf "$tar" -C "$TMP/guest"
		pack_guest "$TMP/guest" "$TMP/initramfs.gz"
		cache_put initramfs "$key" "$TMP/initramfs.gz"
	fi
	ln -sfn "$CACHE/initramfs/$key/initramfs.gz" "$INITRAMFS"
}
