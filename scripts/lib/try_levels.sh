# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# "try": builds and boots the levels, and compiles what the patches touch.
#
# $TMP/states has a line for each level: "NAME<tab>STATE<tab>DETAIL", where STATE is
# "booted" (DETAIL is the folder of the logs), "same" (the image is that of the level
# below), "broken" (DETAIL says why). Where a level was booted again, "NAME<tab>again"
# and the folder follow.

state() {
	printf '%s\t%s\t%s\n' "$1" "$2" "${3//$'\t'/ }" >>"$TMP/states"
}

# boot_level NAME DIR: boots it; DIR is where the logs are. Returns 1, with the reason in
# $TMP/why, if the boot is of no use.
boot_level() {
	boot_cached "$IMAGES/$1-lean/bzImage" "$INITRAMFS" "$2" || exit 1
	python3 "$LIB/try_report.py" --state "$2" >"$TMP/why" || exit 1
	! grep -q . "$TMP/why"
}

# boot_again NAME DIR: what differs from the first boot is no fault of a patch.
boot_again() {
	if FRESH=1 boot_level "$1" "$2-again"; then state "$1" again "$2-again"; fi
}

# try_level NAME BELOW: builds a level and boots it, if its image is not that of the level
# BELOW. Sets last to the name, if there are results.
try_level() {
	local name=$1 below=$2 dir=$LOGS/$1 image=$IMAGES/$1-lean/bzImage
	if ! run "$COMMANDS/build" "$name" lean 2>"$TMP/err"; then
		cat "$TMP/err" >&2
		sed -n 's/.*does not build: //p' "$TMP/err" | head -n 1 >"$TMP/why"
		[ -s "$TMP/why" ] || tail -n 1 "$TMP/err" >"$TMP/why"
		state "$name" broken "does not build: $(sed 's,^\(\.\./\)*src/[^/]*/,,' "$TMP/why")"
		return
	fi
	if [ -n "$below" ] && cmp -s "$image" "$IMAGES/$below-lean/bzImage"; then
		say "  the image is that of the level below: not booted"
		state "$name" same "$below"
		last=$name
		return
	fi
	if [ -z "$below" ]; then
		choose_accel "$image" "$INITRAMFS"
		say "  accelerator: $ACCEL, ${SMP:-2} CPUs"
	fi
	if ! boot_level "$name" "$dir"; then
		state "$name" broken "$(cat "$TMP/why")"
		return
	fi
	state "$name" booted "$dir"
	if [ -z "$below" ]; then
		boot_again "$name" "$dir"
	elif ! python3 "$LIB/try_report.py" --worse "$LOGS/$(booted_as "$below")" "$dir"; then
		say "  something is worse than at the level below: once more"
		boot_again "$name" "$dir"
	fi
	last=$name
}

# booted_as NAME: the level whose boot is that level's, where images are the same.
booted_as() {
	local name=$1 below
	while below=$(awk -F'\t' -v n="$name" '$1 == n && $2 == "same" { print $3 }' "$TMP/states") && [ -n "$below" ]; do
		name=$below
	done
	echo "$name"
}

# keep_folder: where the base's image is in the cache, a build folder of an earlier series
# is what the first level begins with: build looks up what changed since.
keep_folder() {
	local d
	[ ! -e "$OBJ/lean/base/lab-commit" ] || return 0
	for d in "$OBJ"/lean/*/; do
		[ -e "$d/lab-commit" ] || continue
		rm -rf "$OBJ/lean/base"
		mv "$d" "$OBJ/lean/base"
		return
	done
}

# try_levels: all levels, the base first. Without a base that boots there is nothing to
# compare with.
try_levels() {
	local name n=0 count
	count=$(levels | wc -l)
	last=
	: >"$TMP/states"
	keep_folder
	while read -r name _ <&3; do
		n=$((n + 1))
		say "level $n of $count: $name"
		try_level "$name" "$last"
		[ -n "$last" ] || die "the base is broken: $(cut -f3 "$TMP/states" | head -n 1)"
	done 3< <(levels)
	[ ! -s "$TMP/broken" ] || awk -F'\t' '{ print $1 "\tbroken\t" $2 }' "$TMP/broken" >>"$TMP/states"
}

# warnings_in LOG: those of the compiler in a log, less the folder and the line.
warnings_in() {
	sed -nE -e "s,(^|[ ])$SRC/,\1,g" -e 's,^(\.\./)+src/[^/]+/,,' -e 's/^([^ :]+):[0-9:]+ (warning:.*)/\1: \2/p' "$1" | sort
}

# compile_level NAME COMMIT BELOW: the touched files that the level has, with W=1: new
# warnings are in $TMP/warnings/NAME, CPU seconds of the objects in $TMP/cost/NAME.
compile_level() {
	local name=$1 commit=$2 below=$3 obj=$OBJ/objects log=$LOGS/objects-$1.log f
	local -a have=() cost=()
	for f in "${sources[@]}"; do
		if git -C "$SRC" cat-file -e "$commit:$f" 2>/dev/null; then have+=("${f%.c}.o"); fi
	done
	at "$commit"
	configure "$obj" lean
	(cd "$obj" && rm -f "${have[@]}")
	[ ${#have[@]} -gt 0 ] || { : >"$TMP/w1.$name"; return; }
	run kernel_make "$obj" -k W=1 "${have[@]}" >"$log" 2>&1 || true
	warnings_in "$log" >"$TMP/w1.$name"
	if [ -n "$below" ]; then new_lines "$TMP/w1.$below" "$TMP/w1.$name" >"$TMP/warnings/$name" || true; fi
	# Only what differs from the level below can have got slower.
	for f in "${have[@]}"; do
		if [ ! -e "$obj/$f" ]; then
			grep -q 'error:' "$log" || echo "${f%.o}.c" >>"$TMP/not-compiled"
			continue
		fi
		if [ -z "$below" ] || ! git -C "$SRC" diff --quiet "$commit~1" "$commit" -- "${f%.o}.c"; then cost+=("$f"); fi
	done
	[ ${#cost[@]} = 0 ] || python3 "$LIB/try_cost.py" "$obj" "${cost[@]:0:12}" >"$TMP/cost/$name" 2>>"$LOGS/objects.log" || true
}

# compile_levels: what the patches touch, at each level.
compile_levels() {
	local name commit below='' start=$SECONDS
	local -a sources
	mapfile -t sources < <(touched_sources)
	mkdir -p "$TMP/warnings" "$TMP/cost"
	: >"$TMP/not-compiled"
	[ ${#sources[@]} -gt 0 ] || return 0
	say "touched files, with W=1: ${sources[*]}"
	: >"$LOGS/objects.log"
	while read -r name commit <&3; do
		compile_level "$name" "$commit" "$below"
		below=$name
	done 3< <(levels)
	say "  $(levels | wc -l) levels: $((SECONDS - start)) s"
}
