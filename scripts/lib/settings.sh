# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Validates the settings at the start of each run. docs/lab.md lists them.

# The user's, because set_arch sets a default.
own_qemu=${QEMU:-}

# setting_number NAME LEAST: requires NAME to be unset, or a whole number >= LEAST.
setting_number() {
	local value=${!1:-}
	[ -n "$value" ] || return 0
	if ! [[ $value =~ ^[0-9]{1,9}$ ]] || [ "$((10#$value))" -lt "$2" ]; then
		die "$1=$value is not a whole number of at least $2"
	fi
	# Bash reads 010 as octal.
	printf -v "$1" %d "$((10#$value))"
}

# setting_flag NAME: requires NAME to be unset, empty or 1.
setting_flag() {
	case ${!1:-} in
	'' | 1) ;;
	*) die "$1=${!1} is not valid: set $1=1, or unset it" ;;
	esac
}

check_settings() {
	local name
	for name in JOBS SMP GUESTS BOOT_TIMEOUT CHECK_MINUTES BENCH_MINUTES; do setting_number "$name" 1; done
	for name in TRY FORCE FRESH SEND; do setting_flag "$name"; done
	if [ -n "${SMP:-}" ] && [ "$SMP" -gt 64 ]; then
		die "SMP=$SMP is more than the 64 CPUs that configs/lean.config allows (CONFIG_NR_CPUS)"
	fi
	check_memory
	[ -z "$own_qemu" ] || command -v "$own_qemu" >/dev/null ||
		die "QEMU=$own_qemu is not a program: install it, or unset QEMU"
	case ${ARCH:-} in */* | .*) die "ARCH=$ARCH is not an architecture" ;; esac
	if [ -n "${CROSS_COMPILE:-}" ] && [ -z "${ARCH:-}" ]; then
		die "CROSS_COMPILE=$CROSS_COMPILE needs ARCH, the kernel's name of the architecture (arm64)"
	fi
	case $BASE in */* | .*) die "BASE=$BASE is not a base; the bases are: $(bases | paste -sd' ')" ;; esac
	for name in ${CHECK_BASES:-}; do
		[ "$name" = none ] || [ -r "$TOP/configs/$name.base" ] ||
			die "CHECK_BASES contains '$name'; it must be 'none' or some of: $(bases | paste -sd' ')"
	done
	for name in EXTRA_CONFIG TRAILERS; do
		[ ! -d "${!name:-}" ] || die "$name=${!name} is a folder: it must be a file"
	done
	[ -z "${EXTRA_CONFIG:-}" ] || [ -r "$EXTRA_CONFIG" ] || die "cannot read EXTRA_CONFIG=$EXTRA_CONFIG"
	[ -z "${TRAILERS:-}" ] || [ -r "$TRAILERS" ] || die "cannot read TRAILERS=$TRAILERS: it must be an mbox"
	# Commands change the folder.
	for name in EXTRA_CONFIG TRAILERS XDG_CACHE_HOME CCACHE_DIR; do
		[ -z "${!name:-}" ] || export "$name=$(realpath -ms -- "${!name}")"
	done
	check_kernel
}

# check_memory: MEM needs a unit, because QEMU takes a number without one as MiB.
check_memory() {
	local mib
	[ -n "${MEM:-}" ] || return 0
	[[ $MEM =~ ^([0-9]{1,6})([MG])$ ]] || die "MEM=$MEM is not a size such as 2G or 1536M"
	mib=$((10#${BASH_REMATCH[1]}))
	[ "${BASH_REMATCH[2]}" = M ] || mib=$((mib * 1024))
	[ "$mib" -ge 1024 ] || die "MEM=$MEM is less than the 1G that the tests need"
}

check_kernel() {
	[ -n "${KERNEL:-}" ] || return 0
	[ -d "$KERNEL" ] || die "KERNEL=$KERNEL is not a folder"
	git -C "$KERNEL" rev-parse -q --verify 'HEAD^{commit}' >/dev/null 2>&1 ||
		die "KERNEL=$KERNEL is not a git tree with a commit (or git does not trust it: see safe.directory)"
	KERNEL=$(cd "$KERNEL" && pwd)
	export KERNEL
}
