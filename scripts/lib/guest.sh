# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The guest: its initramfs, and QEMU.

# guest_ports DIR: sets PORTS, QEMU's arguments for the console and two more ports of the
# guest, which go to console.log, ktap.log and dmesg.log.gz in DIR.
guest_ports() {
	PORTS=(-serial "file:$1/console.log")
	case $GUEST_ARCH in
	arm64)
		# This machine has one UART, so the others are virtio consoles. A comma ends a path.
		PORTS+=(-device virtio-serial-device
			-chardev "file,id=ktap,path=${1//,/,,}/ktap.log" -device "virtconsole,chardev=ktap"
			-chardev "file,id=dmesg,path=${1//,/,,}/dmesg.log.gz" -device "virtconsole,chardev=dmesg")
		;;
	*) PORTS+=(-serial "file:$1/ktap.log" -serial "file:$1/dmesg.log.gz") ;;
	esac
}

# guest_arguments KERNEL INITRD DIR APPEND [QEMU ARG...]: sets GUEST_ARGUMENTS, all of QEMU's. The
# console prints errors only, because the report of an OOM kill would delay the CPU that is
# being timed; the log buffer is large enough for everything else.
guest_arguments() {
	local kernel=$1 initrd=$2 dir=$3 append=$4
	shift 4
	guest_ports "$dir"
	GUEST_ARGUMENTS=("${MACHINE[@]}" "$@" -nodefaults -display none -no-reboot "${PORTS[@]}"
		-kernel "$kernel" -initrd "$initrd" -append "console=$CONSOLE loglevel=4 log_buf_len=16M panic=-1 $append")
}

# guest LIMIT KERNEL INITRD DIR APPEND [QEMU ARG...]: runs a guest for at most LIMIT
# seconds, with the ports of guest_ports. Returns 0, or 124 or 137 at the limit.
guest() {
	local limit=$1 dir=$4 rc=0
	shift
	mkdir -p "$dir"
	guest_arguments "$@"
	run timeout -k 5 "$limit" "$QEMU" "${GUEST_ARGUMENTS[@]}" >"$dir/qemu.log" 2>&1 </dev/null || rc=$?
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
	command -v "$QEMU" >/dev/null || die "no $QEMU: run scripts/lab setup boot"
	[ -z "${ACCEL:-}" ] || return 0
	ACCEL=tcg,thread=multi
	if [ -w /dev/kvm ] && [ -z "$ARCH_DIR" ]; then
		run timeout -k 1 10 "$QEMU" "${MACHINE[@]}" -accel kvm -smp "${SMP:-2}" -m 1G -nodefaults -display none \
			-no-reboot -serial "file:$TMP/probe.console" -kernel "$1" -initrd "$2" \
			-append "console=$CONSOLE panic=-1 lab.probe" >/dev/null 2>&1 </dev/null || true
		if grep -qs 'lab: alive' "$TMP/probe.console"; then ACCEL=kvm; fi
	fi
	export ACCEL
}

# boot_options: sets BOOT_OPTIONS, what lib/boot-one passes to guest after DIR. ACCEL must be set.
boot_options() {
	BOOT_OPTIONS=("${KARGS:-}" -accel "$ACCEL" -smp "${SMP:-2}" -m "${MEM:-2G}")
}

# judge_key: prints a hash of what judges the logs of a boot.
judge_key() {
	cat "$LIB/ktap.py" "$LIB/ktap_read.py" "$LIB/${KTAP_READER:-ktap.py}" | sha
}

# boot_seconds DIR: prints how long that boot took.
boot_seconds() {
	python3 -c 'import json, sys
print(round(json.load(open(sys.argv[1], encoding="utf-8"))["seconds"]))' "$1/result.json" 2>/dev/null || echo 0
}

# judge_again DIR: judges the logs of a cached boot again, if what reads them has changed since.
# Returns 0 if there is no problem.
judge_again() {
	[ "$(cat "$1/judge" 2>/dev/null)" != "$(judge_key)" ] || return 0
	run python3 "$LIB/${KTAP_READER:-ktap.py}" "$1" --seconds "$(boot_seconds "$1")" >/dev/null || return
	judge_key >"$1/judge"
}

# boot_key IMAGE INITRAMFS: prints the key of such a boot in the cache. ACCEL must be set.
boot_key() {
	boot_options
	guest_arguments kernel initramfs dir "${BOOT_OPTIONS[@]}"
	{ cat "$1" "$2"; "$QEMU" --version; printf '%s\n' "${GUEST_ARGUMENTS[@]}"; } | sha
}

# guests_at_once: prints how many guests to run side by side: GUESTS, or what memory and CPUs
# allow. Under TCG, a guest of two CPUs keeps one busy, because the tests wait a lot.
guests_at_once() {
	local cpus least=${MEM:-2G} kib
	cpus=$(nproc)
	[ "$ACCEL" != kvm ] || cpus=$((cpus / ${SMP:-2}))
	kib=$(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo)
	case $least in *G) least=$((${least%G} * 1024)) ;; *) least=${least%M} ;; esac
	awk -v n="${GUESTS:-$cpus}" -v most=$((kib / 1024 / (least + 512))) 'BEGIN { n = n < most ? n : most; print n < 1 ? 1 : n }'
}

# boot_ahead IMAGE...: boots these kernels with the guest's initramfs, several at once, unless
# there are logs of earlier boots. boot_cached takes the results.
boot_ahead() {
	local image key nr guests
	local -A seen=()
	mkdir -p "$TMP/ahead"
	for image; do
		key=$(boot_key "$image" "$INITRAMFS")
		if [ -n "${seen[$key]:-}" ] || { [ -z "${FRESH:-}" ] && [ -f "$CACHE/boots/$key/result.json" ]; }; then continue; fi
		seen[$key]=1
		printf '%s\0' "$image" "$INITRAMFS" "$TMP/ahead/$key"
	done >"$TMP/kernels"
	nr=${#seen[@]} guests=$(guests_at_once)
	# One alone shows its own progress.
	if [ "$nr" -lt 2 ] || [ "$guests" -lt 2 ]; then return 0; fi
	COUNTED="of $nr ended" progress "boots, $guests at once" "$TMP/boots" \
		xargs -0 -a "$TMP/kernels" -n 3 -P "$guests" "$LIB/boot-ahead" || return 0
}

# boot_cached IMAGE INITRAMFS DIR: boots and tests with lib/boot-one, unless boot_ahead has done
# so, or there are logs of an earlier boot of the same kernel and initramfs, with the same QEMU
# and arguments, and the lab finds no problem in them; FRESH=1 repeats these. ACCEL must be set,
# KTAP_READER may be. The logs are in DIR; boot_was_cached is set if they come from an earlier
# boot. Returns 0, or the status of lib/boot-one if it could not run.
boot_cached() {
	local key dir=$3 rc=0 ahead
	key=$(boot_key "$1" "$2")
	ahead=$TMP/ahead/$key
	boot_was_cached=
	rm -rf "$dir"
	mkdir -p "${dir%/*}"
	if [ ! -f "$ahead.rc" ] && [ -z "${FRESH:-}" ] && [ -f "$CACHE/boots/$key/result.json" ]; then
		if cp -r "$CACHE/boots/$key" "$dir" 2>/dev/null && judge_again "$dir"; then
			# shellcheck disable=SC2034 # for the callers
			boot_was_cached=1
			say "  boot and tests: cached"
			if ! cmp -s "$dir/judge" "$CACHE/boots/$key/judge"; then
				cache_drop boots "$key"
				cache_put boots "$key" "$dir"/*
			fi
			return
		fi
		# It has a problem, another clone is replacing it, or the disk is full, which the boot reports.
		rm -rf "$dir"
	fi
	if [ -f "$ahead.rc" ]; then
		rc=$(cat "$ahead.rc")
		mv "$ahead.out" "$TMP/boot"
		mv "$ahead" "$dir"
		rm "$ahead.rc"
		say "  boot and tests: $(boot_seconds "$dir") s, done"
	else
		progress "boot and tests" "$TMP/boot" "$LIB/boot-one" "$1" "$2" "$dir" || rc=$?
	fi
	case $rc in
	0 | 2)
		cat "$TMP/boot"
		# Also with a problem: the next run must not take the old result.
		cache_drop boots "$key"
		;;
	*) cat "$TMP/boot" >&2 ;;
	esac
	if [ "$rc" = 0 ]; then
		judge_key >"$dir/judge"
		cache_put boots "$key" "$dir"/*
	fi
	[ "$rc" != 2 ] || rc=0
	return "$rc"
}

# add_to_initramfs INITRAMFS ROOT FILE: writes FILE, which is INITRAMFS (/dev/null for none)
# plus the files in the folder ROOT. The same content makes the same file, because it is part
# of a boot's cache key.
add_to_initramfs() {
	find "$2" -exec touch -h -d @0 {} +
	{
		cat "$1" &&
			(cd "$2" && find . | sort | cpio -o -H newc -R 0:0 --reproducible --quiet | gzip -n)
	} >"$3" || die "cannot pack the initramfs: is the disk full?"
}

# pack_guest ROOT FILE: adds busybox, bash, guest/init and all needed libraries to ROOT,
# and packs it as FILE, the initramfs of a guest.
pack_guest() {
	local root=$1 file=$2 applet from to
	guest_programs
	mkdir -p "$root"/{bin,usr/bin,sbin,dev,proc,sys,tmp,root}
	# run_vmtests.sh needs bash; the runner needs a timeout with --foreground, which that
	# of busybox does not have.
	cp "${GUEST_PROGRAMS[0]}" "$root/bin/busybox"
	cp "${GUEST_PROGRAMS[1]}" "$root/bin/bash"
	cp "${GUEST_PROGRAMS[2]}" "$root/usr/bin/timeout"
	# This machine's busybox prints the list, because that of the guest may not run here.
	for applet in $(/bin/busybox --list); do
		[ -e "$root/bin/$applet" ] || ln -s busybox "$root/bin/$applet"
	done
	ln -s /bin/env "$root/usr/bin/env"
	install -m 755 "$TOP/scripts/guest/init" "$root/init"

	guest_libraries "$root" >"$TMP/libs"
	while read -r from to; do
		mkdir -p "$root${to%/*}"
		cp -L "$from" "$root$to"
	done <"$TMP/libs"

	add_to_initramfs /dev/null "$root" "$file"
}

# guest_initramfs: makes INITRAMFS, which is the same for each level of each base: the
# selftests that kselftest-tar packs, busybox, bash, the libraries that they need, and
# guest/init. The result is cached. Sets KSELFTEST_TAR, the packed selftests.
guest_initramfs() {
	local key
	need_machine
	run "$COMMANDS/kselftest-tar" || exit 1
	KSELFTEST_TAR=$LAB_DIR/results/kselftest-$GUEST_ARCH.tar.gz
	guest_programs
	key=$({ cat "$KSELFTEST_TAR" "${GUEST_PROGRAMS[@]}" "$TOP/scripts/guest/init"
		declare -f add_to_initramfs pack_guest guest_libraries; } | sha)
	if [ ! -f "$CACHE/initramfs/$key/initramfs.gz" ]; then
		need_space 1
		rm -rf "$TMP/guest"
		mkdir "$TMP/guest"
		tar -xzf "$KSELFTEST_TAR" -C "$TMP/guest"
		pack_guest "$TMP/guest" "$TMP/initramfs.gz"
		cache_put initramfs "$key" "$TMP/initramfs.gz"
	fi
	ln -sfn "$CACHE/initramfs/$key/initramfs.gz" "$INITRAMFS"
}

# initramfs_of SCRIPTS OUT: makes OUT from the guest's initramfs. With it, the guest runs only
# these test scripts, named as kselftest's runner does.
initramfs_of() {
	mkdir -p "$TMP/only/kselftest"
	# shellcheck disable=SC2086 # a list of names
	printf -- '-t %s\n' $1 >"$TMP/only/kselftest/lab-arguments"
	add_to_initramfs "$INITRAMFS" "$TMP/only" "$2"
}
