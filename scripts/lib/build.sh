# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Configures and compiles the tree in SRC.

# config_fragments FLAVOUR: prints the merged config fragments, one SYMBOL=VALUE per line,
# sorted: lean.config, that of the architecture, and that of the FLAVOUR, which is "lean",
# or "debug", "kcsan", "lockstat" or "64k" (arm64 only), which have a fragment of their own.
# A later fragment overrides an earlier one; "is not set" becomes =n. The base's
# CONFIG_WITHOUT lists symbols that it does not have; they are left out. Its CONFIG_MORE
# and EXTRA_CONFIG come last. With CONFIG=none, nothing is added to allnoconfig.
config_fragments() {
	need_machine
	local -a parts=(/dev/null)
	[ "$CONFIG" = none ] || parts=("$TOP/configs/lean.config" "$TOP/configs/$GUEST_ARCH.config")
	case $1 in
	lean) ;;
	64k)
		[ "$GUEST_ARCH" = arm64 ] || die "$GUEST_ARCH has no pages of 64 KiB: set ARCH=arm64"
		parts+=("$TOP/configs/64k.config")
		;;
	debug | kcsan | lockstat) parts+=("$TOP/configs/$1.config") ;;
	*) die "no flavour '$1': use lean, debug, kcsan, lockstat or 64k" ;;
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

# The variants that configs/variants lists.
VARIANTS=$TOP/configs/variants

# in_variant NAME CMD...: runs CMD with the architecture, compiler and config of a variant.
in_variant() {
	local variant=$1 arch cross cc start symbols s
	shift
	read -r _ arch cross cc start symbols < <(grep "^$variant " "$VARIANTS") || die "$VARIANTS has no line '$variant'"
	local ARCH=$arch GUEST_ARCH=${arch/#x86*/x86_64} CROSS_COMPILE=${cross#-} KERNEL_CC=$cc
	local CONFIG=$start CONFIG_WITHOUT=$CONFIG_WITHOUT CONFIG_MORE=$CONFIG_MORE
	[ "$start" != none ] || CONFIG_MORE=
	command -v "$CROSS_COMPILE$cc" >/dev/null || die "$variant: there is no compiler $CROSS_COMPILE$cc"
	for s in $symbols; do
		case $s in
		'!'*)
			has_symbol "${s#!}" || die "$variant: no Kconfig file of $BASE defines ${s#!}"
			CONFIG_MORE+=" CONFIG_${s#!}=n"
			;;
		'~'*) CONFIG_WITHOUT+=" CONFIG_${s#\~}" ;;
		*) CONFIG_MORE+=" CONFIG_$s" ;;
		esac
	done
	"$@"
}

# image_of LEVEL FLAVOUR: prints the path of the kernel that "build" leaves for them.
image_of() {
	local level=$1
	if [[ $level = commit:* ]]; then
		level=commit-$(git -C "$SRC" rev-parse -q --verify "${level#*:}^{commit}")
	fi
	echo "$IMAGES/${level//\//-}-$2/$IMAGE"
}

# has_symbol NAME: whether a Kconfig file of the base defines it, or CONFIG_WITHOUT says that
# none does.
has_symbol() {
	[[ " $CONFIG_WITHOUT " = *" CONFIG_$1 "* ]] ||
		git -C "$SRC" grep -qE "^(menu)?config $1\$" "$BASE_REF" -- '*Kconfig*'
}

# kbuild_list OBJ DIR: prints the objects and folders that the config in OBJ builds there.
kbuild_list() {
	[ -r "$SRC/$2/Makefile" ] || return 0
	# shellcheck disable=SC2016 # variables of make
	printf '%s\n' 'list: ; @echo $(addprefix $(obj)/,$(obj-y) $(obj-m))' \
		'include include/config/auto.conf $(srctree)/scripts/Kbuild.include $(srctree)/$(obj)/Makefile' |
		make -s -C "$1" --no-print-directory -f - obj="$2" src="$SRC/$2" srctree="$SRC" list | tr ' ' '\n'
}

# built_objects OBJ FILE.c...: prints the objects of those that the config in OBJ builds.
# If asked to, make would compile the others too, and some would fail.
built_objects() {
	local obj=$1 dir
	shift
	for dir in $(dirname "$@" | sort -u); do
		[[ $dir != */* ]] || grep -qxF "$dir/" <<<"$(kbuild_list "$obj" "${dir%/*}")" || continue
		kbuild_list "$obj" "$dir"
	done | sort | comm -12 - <(printf '%s\n' "${@/%.c/.o}" | sort)
}

# Files that include the headers that the stack touches, and use what it changes there.
# There are hundreds more that only include them.
HEADER_USERS=(kernel/freezer.c kernel/signal.c kernel/cgroup/freezer.c kernel/cgroup/legacy_freezer.c)

# compile_touched FLAVOUR [VARIANT [LEVELS]]: compiles the .c files of the kernel that the stack
# changes, and HEADER_USERS, at each level, with that config and W=1. A warning that the base
# does not have is an error. VARIANT is the one that this runs in. LEVELS are lines as levels
# prints them, the base first; the default are those of the stack. What compiled before with the
# same inputs is cached. All configs of an architecture share a build folder, because its tools do
# not depend on the config. The check "kerneldoc" looks at the comments, which W=1 would do for
# each object.
compile_touched() {
	local flavour=$1 variant=${2:-$1}
	local obj=$OBJ/objects-$GUEST_ARCH log=$LOGS/objects-$variant.log
	local levels=${3:-} start=$SECONDS key todo='' name commit id new f
	local -A known=()
	local -a sources objects
	[ -n "$levels" ] || levels=$(levels)
	mapfile -t sources < <(touched_sources)
	[ ${#sources[@]} -gt 0 ] || die "the stack of $BASE changes no kernel source"
	key=$({ source_id "$BASE_REF"; config_fragments "$flavour"; "${CROSS_COMPILE:-}${KERNEL_CC:-gcc}" --version
		echo "${ARCH:-} $variant ${sources[*]} ${HEADER_USERS[*]}"; declare -f compile_touched kernel_make; } | sha)
	while read -r name commit; do
		id=$key-$(source_id "$commit" | sha)
		# The base comes first, and is compiled if anything else is.
		[ -n "${FRESH:-}" ] || [ ${#known[@]} = 0 ] || [ ! -d "$CACHE/objects/$id" ] || known[$id]=1
		[ -n "${known[$id]:-}" ] || todo+="$name $commit $id"$'\n'
		known[$id]=1
	done <<<"$levels"
	if [ "$(wc -l <<<"$todo")" = 2 ]; then
		say "  $variant: ${#known[@]} levels: cached"
		return
	fi

	at "$BASE_REF"
	configure "$obj" "$flavour"
	run kernel_make "$obj" prepare >"$log" 2>&1 || die "$variant: make prepare failed: $(first_error "$log"); see $log"
	mapfile -t objects < <(built_objects "$obj" "${sources[@]}")
	[ ${#objects[@]} -gt 0 ] || die "$variant: its config builds none of the files that the stack touches: ${sources[*]}"
	for f in $(built_objects "$obj" "${HEADER_USERS[@]}"); do
		[[ " ${objects[*]} " = *" $f "* ]] || objects+=("$f")
	done
	# make prints no warnings for objects that exist.
	(cd "$obj" && rm -f "${objects[@]}")
	# warnings: prints the warnings in the log, without folder and line number.
	warnings() {
		sed -nE -e "s,^$SRC/,," -e 's/^([^ :]+):[0-9:]+ (warning:.*)/\1: \2/p' "$log" | sort
	}
	rm -f "$TMP/base"
	while read -r name commit id <&3; do
		at "$commit"
		run kernel_make "$obj" W=1 cmd_checkdoc= "${objects[@]}" >"$log" 2>&1 ||
			die "$variant: $name does not compile: $(first_error "$log"); see $log"
		[ -e "$TMP/base" ] || warnings >"$TMP/base"
		new=$(warnings | comm -13 "$TMP/base" -)
		[ -z "$new" ] ||
			die "$variant: $name: a warning in a file that the stack touches: ${new%%$'\n'*}; see $log"
		cache_put objects "$id" "$log"
	done 3< <(printf '%s' "$todo")
	say "  $variant: ${objects[*]} at $(wc -l <<<"${todo%?}") of ${#known[@]} levels: $((SECONDS - start)) s"
}
