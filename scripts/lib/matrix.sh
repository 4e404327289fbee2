# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Builds and boots levels, and prints which patch changed the result of which test.

# stage NAME: records the seconds since the end of the last stage as those of NAME.
stage_times=()
stage_start=$SECONDS
stage() {
	stage_times+=("$1 $((SECONDS - stage_start)) s")
	stage_start=$SECONDS
}

# prepare_levels: fetches the base, applies the stack, and packs the guest. Writes the levels of the
# stack to $TMP/stack.
prepare_levels() {
	need_machine
	[ -r "$EXPECTED" ] || die "no $EXPECTED: it must list the expected result of each test"
	lab_lock
	lab_tmp
	need_source
	stage fetch
	need_stack
	stage apply
	say "selftests"
	guest_initramfs
	stage selftests
	levels >"$TMP/stack"
}

# judge_levels OUT ORDER LEVEL=RESULT.json...: prints the matrix of these, and writes it to OUT. ORDER
# has the names of all levels, by comma. Returns 0 if all is as expected, 2 if not.
judge_levels() {
	local rc=0
	say ""
	python3 "$LIB/matrix.py" --expected "$EXPECTED" --base "$BASE" --out "$1" --order "$2" "${@:3}" || rc=$?
	say ""
	return "$rc"
}

# boot_levels FLAVOUR OUT COMPILE [LEVEL...]: prepares, then builds and boots these levels, or all
# of the stack, or those of the topic that choose_topic chose. With COMPILE, it first compiles
# the files that the stack touches, at each level. Writes the results to OUT. Returns 0 if all is
# as expected, 2 if not.
boot_levels() {
	local flavour=$1 out=$2 compile=$3 which order name rc=0
	shift 3
	case $flavour in
	debug | kcsan)
		# The races last longer here: the guest's init gets this variable from the kernel.
		export KARGS="OOM_RACE_SECONDS=5 ${KARGS:-}"
		# KASAN's shadow takes an eighth of the memory, and everything runs several times slower.
		export MEM=${MEM:-4G} BOOT_TIMEOUT=${BOOT_TIMEOUT:-1200}
		;;
	esac
	prepare_levels
	if [ "$flavour" = kcsan ]; then
		export KTAP_READER=ktap_kcsan.py KCSAN_SOURCES=$TMP/touched
		write_touched "$STACK_REF" "$KCSAN_SOURCES" '\.c$'
		rm -rf "$KCSAN_SOURCES/tools"
	fi
	pick_topic "$TOPIC" >"$TMP/all"
	# The patches that a topic has not come after it, where no level is booted.
	order=$(awk '!seen[$1]++ { print $1 }' "$TMP/all" "$TMP/stack" | paste -sd,)
	if [ -n "$compile" ]; then
		compile_touched "$flavour"
		stage objects
	fi
	which="${TOPIC:-$*}"
	if [ -n "$TOPIC" ]; then
		# Of what the topic needs, only the last level.
		awk -v all="$(wc -l <"$TMP/all")" -v own="$(series "$TOPIC" | wc -l)" 'NR == 1 || NR >= all - own' "$TMP/all"
	elif [ $# -gt 0 ]; then
		for name; do
			levels_from_to "${name%%..*}" "${name##*..}" "$(cat "$TMP/all")"
		done >"$TMP/named"
		grep -xFf "$TMP/named" "$TMP/all"
	else
		cat "$TMP/all"
	fi >"$TMP/levels"
	boot_each "$flavour"

	judge_levels "$out" "$order" "${boot_results[@]}" || rc=$?
	[ "$rc" = 1 ] || keep_run "${which:-all}" "$flavour" "$out" "$order"
	[ "$rc" = 1 ] || matrix_page "$out" "$order"
	say "stages: $(printf '%s, ' "${stage_times[@]}")total $SECONDS s"
	say "logs: $LOGS; results: $out"
	return "$rc"
}

# decode_places LEVEL FLAVOUR DIR: if the folder in which that kernel was built is still there,
# adds the line of the source to the places in the problems of the boot in DIR.
decode_places() {
	local obj=$OBJ/$2/$1 commit
	grep -qs '+0x' "$3/result.json" && commit=$(cat "$obj/lab-commit" 2>/dev/null) || return 0
	grep -qxF "$1 $commit" <<<"$(levels)" || return 0
	at "$commit"
	run python3 "$LIB/decode.py" --obj "$obj" --src "$SRC" "$3" || true
}

# boot_each FLAVOUR: builds and boots the levels in $TMP/levels. Sets boot_results, for
# matrix.py.
boot_each() {
	local flavour=$1 level commit what kernel dir t count n=0 fresh=${FRESH:-} FRESH
	local -a images=() seconds=()
	local -A repeated=()
	count=$(wc -l <"$TMP/levels")
	boot_results=()
	while read -r level commit <&3; do
		say "build $((n + 1)) of $count: $level"
		t=$SECONDS
		# The levels of a topic are not those of the stack.
		what=${TOPIC:+commit:$commit}
		run "$COMMANDS/build" "${what:=$level}" "$flavour" || exit 1
		images+=("$(image_of "$what" "$flavour")") seconds+=($((SECONDS - t)))
		n=$((n + 1))
	done 3<"$TMP/levels"
	stage build

	choose_accel "${images[0]}" "$INITRAMFS"
	say "accelerator: $ACCEL, ${SMP:-2} CPUs"
	FRESH=$fresh
	boot_ahead "${images[@]}"
	n=0
	while read -r level commit <&3; do
		say "boot $((n + 1)) of $count: $level"
		dir=$LOGS/$level-$flavour
		dir=${dir%-lean}
		# With FRESH, a kernel that many levels share is booted once.
		kernel=$(cache_key "${images[n]}")
		if [ -n "${repeated[$kernel]:-}" ]; then FRESH=''; else FRESH=$fresh; fi
		boot_cached "${images[n]}" "$INITRAMFS" "$dir" || exit 1
		repeated[$kernel]=1
		decode_places "$level" "$flavour" "$dir"
		boot_results+=("$level=${boot_was_cached:+cached:}$dir/result.json")
		note_level "$level" "${images[n]}" "$dir" "${seconds[n]}"
		n=$((n + 1))
	done 3<"$TMP/levels"
	stage boot
}
