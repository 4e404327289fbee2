# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034 # the variables are for the other parts
#
# What depends on the architecture of kernel and guest: ARCH, by default this machine's.
# The lab boots x86_64 and arm64; kselftest-tar packs for any.

HOST_ARCH=$(uname -m | sed 's/aarch64/arm64/')

# set_arch: sets
#   GUEST_ARCH  ARCH, or this machine's
#   ARCH_DIR    what the names of folders and links end in: empty on this machine's
#   IMAGE       the kernel's file, and the target of its make
#   CONSOLE     the console of the guest's kernel
#   QEMU        the QEMU program, and MACHINE, its arguments for the machine
# and exports CROSS_COMPILE. IMAGE is empty if the lab does not boot that architecture.
set_arch() {
	local cpu=${CPU:-}
	GUEST_ARCH=${ARCH:-$HOST_ARCH} ARCH_DIR='' IMAGE='' CONSOLE='' MACHINE=()
	if [ "$GUEST_ARCH" != "$HOST_ARCH" ]; then ARCH_DIR=-$GUEST_ARCH; fi
	case $GUEST_ARCH in
	x86_64)
		IMAGE=bzImage CONSOLE=ttyS0 QEMU=${QEMU:-qemu-system-x86_64}
		;;
	arm64)
		IMAGE=Image.gz CONSOLE=ttyAMA0 QEMU=${QEMU:-qemu-system-aarch64}
		# QEMU's default is a CPU of 32 bits. This one is a phone's.
		MACHINE=(-M virt) cpu=${CPU:-cortex-a76}
		if [ -n "$ARCH_DIR" ]; then export CROSS_COMPILE=${CROSS_COMPILE:-aarch64-linux-gnu-}; fi
		;;
	esac
	[ -z "$cpu" ] || MACHINE+=(-cpu "$cpu")
}

# need_machine: exits with an error if the lab does not boot ARCH.
need_machine() {
	[ -n "$IMAGE" ] || die "ARCH=$GUEST_ARCH is not an architecture that the lab boots: use x86_64 or arm64"
}

# need_native: exits with an error if ARCH is not this machine's.
need_native() {
	[ -z "$ARCH_DIR" ] || die "this works with ARCH=$HOST_ARCH only, not with ARCH=$ARCH"
}

# guest_programs: sets GUEST_PROGRAMS, the paths of busybox, bash and timeout. They are
# this machine's, or those of Debian's packages for ARCH, which are unpacked into the
# cache, not installed.
guest_programs() {
	local release key dir
	GUEST_PROGRAMS=(/bin/busybox /bin/bash /usr/bin/timeout)
	[ -n "$ARCH_DIR" ] || return 0
	release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	key=$(echo "$GUEST_ARCH $release ${PROGRAM_PACKAGES[*]}" | sha)
	dir=$CACHE/programs/$key
	[ -d "$dir" ] || fetch_programs "$release" "$key"
	GUEST_PROGRAMS=("$dir/busybox" "$dir/bash" "$dir/timeout")
}

# fetch_programs SUITE KEY: downloads these packages, and keeps the programs in the cache.
PROGRAM_PACKAGES=(busybox-static bash-static coreutils)
fetch_programs() {
	local APT_ARCH=$GUEST_ARCH log=$LOGS/apt.log to=$TMP/programs deb program found
	say "busybox, bash and timeout for $GUEST_ARCH, from Debian's packages"
	apt_set_up deb "$1"
	rm -rf "$to"
	mkdir -p "$to"/{deb,root}
	(cd "$to/deb" && lab_apt apt-get download "${PROGRAM_PACKAGES[@]}") >"$log" 2>&1 ||
		die "cannot download ${PROGRAM_PACKAGES[*]} for $GUEST_ARCH: $(grep -m1 '^E:' "$log" || tail -n 1 "$log")"
	for deb in "$to"/deb/*.deb; do
		dpkg-deb -x "$deb" "$to/root" || die "${deb##*/} is damaged: run again"
	done
	# /bin or /usr/bin, by release.
	for program in busybox bash-static timeout; do
		found=$(find "$to/root" -path "*/bin/$program")
		[ -n "$found" ] || die "no $program in the packages ${PROGRAM_PACKAGES[*]} of $1"
		mv "$found" "$to/${program%-static}"
	done
	cache_put programs "$2" "$to"/{busybox,bash,timeout}
}

# guest_libraries ROOT: prints "FILE PATH" for each shared library that a program in ROOT
# needs: where it is on this machine, and where it belongs in ROOT. Those of another
# architecture come with its compiler; they are the C library's, which need no others.
guest_libraries() {
	if [ -z "$ARCH_DIR" ]; then
		# "not a dynamic executable" is not an error here.
		find "$1" -type f -perm -u+x -exec ldd {} + 2>/dev/null |
			grep -oE '/[^ ]+\.so[^ ]*' | sort -u | sed 's/.*/& &/' || true
		return
	fi
	# It fails for a script.
	{ find "$1" -type f -perm -u+x -exec readelf -dlW {} + 2>/dev/null || true; } |
		sed -nE -e 's/.*Shared library: \[(.*)\]/\1/p' -e 's,.*program interpreter: /lib/(.*)\],\1,p' |
		sort -u | while read -r lib; do
			echo "$("${CROSS_COMPILE}gcc" -print-file-name="$lib") /lib/$lib"
		done
}
