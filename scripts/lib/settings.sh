# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Says at once what is wrong with a setting. docs/lab.md has the table of them.

# setting_number NAME LEAST: the variable NAME is unset, or a whole number >= LEAST.
setting_number() {
	local value=${!1:-}
	[ -n "$value" ] || return 0
	if ! [[ $value =~ ^[0-9]{1,9}$ ]] || [ "$((10#$value))" -lt "$2" ]; then
		die "$1=$value is no whole number from $2 on"
	fi
}

# setting_flag NAME: the variable NAME is unset, empty or 1.
setting_flag() {
	case ${!1:-} in
	'' | 1) ;;
	*) die "$1=${!1} means nothing: set $1=1, or unset it" ;;
	esac
}

check_settings() {
	local name
	for name in JOBS SMP BOOT_TIMEOUT CHECK_MINUTES BENCH_MINUTES; do setting_number "$name" 1; done
	for name in TRY FORCE FRESH SEND; do setting_flag "$name"; done
	if [ -n "${SMP:-}" ] && [ "$((10#$SMP))" -gt 8 ]; then
		die "SMP=$SMP is more than the 8 CPUs that configs/lean.config allows (CONFIG_NR_CPUS)"
	fi
	check_memory
	case $BASE in */* | .*) die "BASE=$BASE is no base: $(bases | paste -sd' ')" ;; esac
	for name in ${CHECK_BASES:-}; do
		[ "$name" = none ] || [ -r "$TOP/configs/$name.base" ] ||
			die "CHECK_BASES names '$name': it is none, or some of: $(bases | paste -sd' ')"
	done
	[ -z "${EXTRA_CONFIG:-}" ] || [ -r "$EXTRA_CONFIG" ] || die "cannot read EXTRA_CONFIG=$EXTRA_CONFIG"
	[ -z "${TRAILERS:-}" ] || [ -r "$TRAILERS" ] || die "cannot read TRAILERS=$TRAILERS, an mbox"
	check_kernel
}

# MEM is as QEMU takes it, with a unit: without one it would be MiB.
check_memory() {
	local mib
	[ -n "${MEM:-}" ] || return 0
	[[ $MEM =~ ^([0-9]{1,6})([MG])$ ]] || die "MEM=$MEM is no size such as 2G or 1536M"
	mib=$((10#${BASH_REMATCH[1]}))
	[ "${BASH_REMATCH[2]}" = M ] || mib=$((mib * 1024))
	[ "$mib" -ge 1024 ] || die "MEM=$MEM is less than the 1G that the tests need"
}

check_kernel() {
	[ -n "${KERNEL:-}" ] || return 0
	[ -d "$KERNEL" ] || die "KERNEL=$KERNEL is no folder"
	git -C "$KERNEL" rev-parse -q --verify 'HEAD^{commit}' >/dev/null 2>&1 ||
		die "KERNEL=$KERNEL is no git tree with a commit in it (or one that git distrusts: see safe.directory)"
	KERNEL=$(cd "$KERNEL" && pwd)
	export KERNEL
}
