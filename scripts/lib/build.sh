# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Configures and compiles the tree in SRC.

# config_fragments FLAVOUR: prints the merged config fragments, one SYMBOL=VALUE per line,
# sorted: lean.config, that of the architecture, and that of the FLAVOUR, which is "lean",
# or "debug", "lockstat" or "64k" (arm64 only), which have a fragment of their own. A later
# fragment overrides an earlier one; "is not set" becomes =n. The base's
# CONFIG_WITHOUT lists symbols that it does not have; they are left out. Its CONFIG_MORE
# and EXTRA_CONFIG come last.
config_fragments() {
	need_machine
	local -a parts=("$TOP/configs/$CONFIG.config" "$TOP/configs/$GUEST_ARCH.config")
	case $1 in
	lean) ;;
	64k)
		[ "$GUEST_ARCH" = arm64 ] || die "$GUEST_ARCH has no pages of 64 KiB: set ARCH=arm64"
		parts+=("$TOP/configs/64k.config")
		;;
	debug | lockstat) parts+=("$TOP/configs/$1.config") ;;
	*) die "no flavour '$1': use lean, debug, lockstat or 64k" ;;
	esac
	# shellcheck disable=SC2086 # CONFIG_MORE is a list of words
	{
		cat "${parts[@]}"
		printf '%s\n' $CONFIG_MORE
		[ -z "${EXTRA_CONFIG:-}" ] || cat "$EXTRA_CONFIG"
	} |
		sed -n -e 's/^# \(CONFIG_[A-Z0-9_]*\) is not set$/\1=n/p' -e '/^CONFIG_/p' |
		awk -F= -v without=" $CONFIG_WITHOUT " '
			!index(without, " " $1 " ") { line[$1] = $0 }
			END { for (i in line) print line[i] }' | sort
}

# configure OBJ FLAVOUR: configures a build folder, and compares each symbol of the
# fragments with the .config, because Kconfig silently drops what it cannot satisfy. With
# LAB_SERIES the fragments were not written for this tree, so the dropped symbols are only
# listed, in OBJ/lab-dropped.
configure() {
	local obj=$1 flavour=$2 name value got
	config_fragments "$flavour" >"$TMP/want" || exit 1
	mkdir -p "$obj"
	kernel_make "$obj" -s KCONFIG_ALLCONFIG="$TMP/want" allnoconfig >"$TMP/log.config" 2>&1 ||
		die "make allnoconfig failed: $(tail -n 1 "$TMP/log.config")"
	while IFS='=' read -r name value; do
		got=$(sed -n "s/^$name=//p" "$obj/.config")
		[ "${got:-n}" = "$value" ] ||
			echo "$name is ${got:-not set}, not $value"
	done <"$TMP/want" >"$TMP/bad"
	if [ -n "${LAB_SERIES:-}" ]; then cp "$TMP/bad" "$obj/lab-dropped"; return; fi
	[ ! -s "$TMP/bad" ] ||
		die "Kconfig did not accept the $flavour config: $(paste -sd ';' "$TMP/bad")"
}

# kernel_make OBJ ARG...: runs make in the build tree, with output in OBJ. ARCH and
# CROSS_COMPILE are those of the kernel's make; KERNEL_CC is the compiler without that
# prefix (default: gcc). Time stamps are fixed and paths relative, so that the same source
# makes the same image, and the compiler cache works in any folder.
kernel_make() {
	local obj=$1 cc=${CROSS_COMPILE:-}${KERNEL_CC:-gcc} hostcc=gcc
	local -a arch=()
	shift
	if command -v ccache >/dev/null; then cc="ccache $cc" hostcc="ccache gcc"; fi
	[ -z "${ARCH:-}" ] || arch+=(ARCH="$ARCH")
	[ -z "${CROSS_COMPILE:-}" ] || arch+=(CROSS_COMPILE="$CROSS_COMPILE")
	KBUILD_BUILD_TIMESTAMP='2026-01-01' KBUILD_BUILD_USER=lab KBUILD_BUILD_HOST=lab \
		KBUILD_BUILD_VERSION=1 CCACHE_BASEDIR=${SRC%/src/*} CCACHE_NOHASHDIR=1 \
		make -C "$SRC" O="$obj" "${arch[@]}" CC="$cc" HOSTCC="$hostcc" LOCALVERSION= -j"$JOBS" "$@"
}

# first_error LOG: prints the first error of a failed make.
first_error() {
	grep -m1 -E '(^|[^A-Za-z])[Ee]rror[: ]' "$1" || tail -n 1 "$1"
}

# no_warnings LABEL LOG FILE...: exits with an error if LOG has a warning in one of the FILEs.
no_warnings() {
	local label=$1 log=$2 f w
	shift 2
	for f in "$@"; do
		w=$(grep -m1 -E "(^|/)${f//./\\.}:[0-9].*warning:" "$log") || continue
		die "$label: a warning in a file that the stack touches: $w; see $log"
	done
}

# compile_touched FLAVOUR: compiles the .c files of the kernel that the stack changes, at
# each level, with that config and W=1. A warning that the base does not have is an error.
compile_touched() {
	local obj=$OBJ/objects log=$LOGS/objects.log levels start=$SECONDS n=0 name commit new
	local -a sources
	levels=$(levels)
	mapfile -t sources < <(git -C "$SRC" diff --name-only "$BASE_REF" "$STACK_REF" | grep -E '\.c$' | grep -v '^tools/')
	[ ${#sources[@]} -gt 0 ] || die "the stack of $BASE changes no kernel source"

	rm -rf "$obj"
	mkdir -p "${obj%/*}"
	lab_git -C "$SRC" checkout -q -f --detach "$BASE_REF"
	configure "$obj" "$1"
	# warnings: prints the warnings in the log, without folder and line number.
	warnings() {
		sed -nE -e "s,^$SRC/,," -e 's/^([^ :]+):[0-9:]+ (warning:.*)/\1: \2/p' "$log" | sort
	}
	while read -r name commit <&3; do
		lab_git -C "$SRC" checkout -q -f --detach "$commit"
		run kernel_make "$obj" W=1 "${sources[@]/%.c/.o}" >"$log" 2>&1 ||
			die "$name does not compile: $(first_error "$log"); see $log"
		[ "$n" != 0 ] || warnings >"$TMP/base"
		new=$(warnings | comm -13 "$TMP/base" -)
		[ -z "$new" ] ||
			die "$name: a warning in a file that the stack touches: ${new%%$'\n'*}; see $log"
		n=$((n + 1))
	done 3<<<"$levels"
	say "  ${sources[*]} at $n levels: $((SECONDS - start)) s"
}
