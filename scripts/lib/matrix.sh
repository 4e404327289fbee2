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

# boot_levels LEVELS FLAVOUR OUT [compile]: prepares, then builds and boots "all" levels,
# the "ends" or the "tip". With "compile", it first compiles the files that the stack
# touches, at each level. Writes the results to OUT. Returns 0 if all is as expected,
# 2 if not.
boot_levels() {
	local which=$1 flavour=$2 out=$3 compile=${4:-} order rc=0
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
	levels >"$TMP/levels"
	order=$(cut -d' ' -f1 "$TMP/levels" | paste -sd,)
	if [ -n "$compile" ]; then
		compile_touched "$flavour"
		stage objects
	fi
	case $which in
	ends) sed -i '1p;$!d' "$TMP/levels" ;;
	tip) sed -i '$!d' "$TMP/levels" ;;
	esac
	boot_each "$flavour"

	say ""
	python3 "$LIB/matrix.py" --expected "$EXPECTED" --base "$BASE" --out "$out" --order "$order" \
		"${boot_results[@]}" || rc=$?
	say ""
	[ "$rc" = 1 ] || keep_run "$which" "$flavour" "$out" "$order"
	[ "$rc" = 1 ] || matrix_page "$out" "$order"
	say "stages: $(printf '%s, ' "${stage_times[@]}")total $SECONDS s"
	say "logs: $LOGS; results: $out"
	return "$rc"
}

# boot_each FLAVOUR: builds and boots the levels in $TMP/levels. Sets boot_results, for
# matrix.py.
boot_each() {
	local flavour=$1 level image kernel dir t seconds count n=0 built=0 booted=0
	local fresh=${FRESH:-} FRESH
	local -A repeated=()
	count=$(wc -l <"$TMP/levels")
	boot_results=()
	while read -r level _ <&3; do
		n=$((n + 1))
		say "level $n of $count: $level"
		t=$SECONDS
		run "$COMMANDS/build" "$level" "$flavour" || exit 1
		image=$(image_of "$level" "$flavour")
		seconds=$((SECONDS - t)) t=$SECONDS
		built=$((built + seconds))

		if [ "$n" = 1 ]; then
			choose_accel "$image" "$INITRAMFS"
			say "  accelerator: $ACCEL, ${SMP:-2} CPUs"
		fi
		dir=$LOGS/$level-$flavour
		dir=${dir%-lean}
		# With FRESH, a kernel that many levels share is booted once.
		kernel=$(cache_key "$image")
		if [ -n "${repeated[$kernel]:-}" ]; then FRESH=''; else FRESH=$fresh; fi
		boot_cached "$image" "$INITRAMFS" "$dir" || exit 1
		repeated[$kernel]=1
		booted=$((booted + SECONDS - t))
		boot_results+=("$level=${boot_was_cached:+cached:}$dir/result.json")
		note_level "$level" "$image" "$dir" "$seconds"
	done 3<"$TMP/levels"
	stage_times+=("build $built s" "boot $booted s")
	stage_start=$SECONDS
}
