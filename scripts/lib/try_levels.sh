# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# "try": builds and boots the levels, and compiles the files that the patches change.
#
# $TMP/states has a line for each level, "NAME<tab>STATE<tab>DETAIL". STATE is one of
#   booted  DETAIL is the folder of its logs
#   same    the image is the same as that of the level below, which is DETAIL
#   broken  DETAIL is the reason
#   untested  without another patch, which is broken, it does not apply; DETAIL says so
#   again   the level was booted a second time; DETAIL is the folder of these logs
#   few     the same, with only some of the test programs

state() {
	printf '%s\t%s\t%s\n' "$1" "$2" "${3//$'\t'/ }" >>"$TMP/states"
}

# broken NAME HOW WHY: the level is broken: HOW is "does not build", "does not boot" or "hangs ...".
# If an earlier patch has broken it in the same way, this one is not blamed, but tested without
# the other.
broken() {
	if [ "$blocked_how" = "$2" ]; then
		say "  $2, like $blocked_by: trying the patches above that without it"
		without_blocker
		return
	fi
	blocked_by=$1 blocked_how=$2
	state "$1" broken "$2: $3"
}

# without_blocker: takes the patch blocked_by out of the stack, and those above it that do not
# apply without it. Sets todo to the others above it.
without_blocker() {
	local name commit below='' above=''
	todo=()
	levels >"$TMP/stack"
	: >"$TMP/applied"
	while read -r name commit <&4; do
		if [ "$name" = "$blocked_by" ]; then
			above=1
			lab_git -C "$SRC" checkout -q -f --detach "$below"
			continue
		elif [ -z "$above" ]; then
			below=$commit
		elif GIT_COMMITTER_NAME=lab GIT_COMMITTER_EMAIL=lab@localhost \
			GIT_COMMITTER_DATE=$(git -C "$SRC" log -1 --format=%cI "$commit") lab_git -C "$SRC" cherry-pick \
			--allow-empty --keep-redundant-commits "$commit" >"$TMP/pick" 2>&1 </dev/null; then
			printf '%s\t%s\n' "$name" "$blocked_by" >>"$TMP/without"
			todo+=("$name")
		else
			lab_git -C "$SRC" cherry-pick --abort >/dev/null 2>&1 || lab_git -C "$SRC" reset -q --hard
			state "$name" untested "not tested: $blocked_by $blocked_how, and without that, this one does not apply"
			continue
		fi
		[ "$name" = base ] || echo "$name.patch" >>"$TMP/applied"
	done 4<"$TMP/stack"
	cp "$TMP/applied" "$LAB_SERIES/series"
	lab_git -C "$SRC" update-ref "$STACK_REF" "$(git -C "$SRC" rev-parse HEAD)"
	blocked_how=none
}

# boot_level NAME DIR: boots the level, and writes the logs to DIR. If the guest did not run
# the tests, returns 1, with the reason in $TMP/why.
boot_level() {
	boot_cached "$(image_of "$1" lean)" "$INITRAMFS" "$2" || exit 1
	decode_places "$1" lean "$2"
	python3 "$LIB/try_report.py" --state "$2" >"$TMP/why" || exit 1
	! grep -q . "$TMP/why"
}

# boot_again NAME DIR: boots the level a second time. No patch is blamed for what differs
# between the two boots. Returns 1 if the guest did not run the tests this time.
boot_again() {
	FRESH=1 boot_level "$1" "$2-again" || return
	state "$1" again "$2-again"
}

# boot_few NAME BELOW DIR: if tests are worse than at level BELOW in both boots of NAME, boots
# both levels MORE_BOOTS times with only the programs of these tests. If a test fails in every
# second run of any kernel, one patch in eight would be blamed for it: the level below
# passes once, and this one fails twice. With four more boots of both, one in two thousand.
MORE_BOOTS=4
boot_few() {
	local name=$1 below=$2 dir=$3 programs level n INITRAMFS=$INITRAMFS
	programs=$(python3 "$LIB/try_report.py" --programs "$LOGS/$below" "$dir" "$dir-again") || exit 1
	[ -n "$programs" ] || return 0
	say "  worse in both boots: $(paste -sd' ' <<<"$programs"); booting both levels $MORE_BOOTS times with only that"
	rm -rf "$TMP/few"
	mkdir -p "$TMP/few/kselftest"
	echo "$programs" >"$TMP/few/kselftest/kselftest-list.txt"
	add_to_initramfs "$INITRAMFS" "$TMP/few" "$TMP/few.gz"
	INITRAMFS=$TMP/few.gz
	for ((n = 1; n <= MORE_BOOTS; n++)); do
		for level in "$below" "$name"; do
			if FRESH=1 boot_level "$level" "$LOGS/$level-few-$n"; then state "$level" few "$LOGS/$level-few-$n"; fi
		done
	done
}

# try_level NAME BELOW: builds a level, and boots it unless level BELOW has the same image.
# Sets last to NAME if there are results.
try_level() {
	local name=$1 below=$2 dir=$LOGS/$1 image booted why
	image=$(image_of "$1" lean)
	if ! run "$COMMANDS/build" "$name" lean 2>"$TMP/err"; then
		cat "$TMP/err" >&2
		sed -n 's/.*does not build: //p' "$TMP/err" | head -n 1 >"$TMP/why"
		[ -s "$TMP/why" ] || tail -n 1 "$TMP/err" >"$TMP/why"
		broken "$name" "does not build" "$(sed 's,^\(\.\./\)*src/[^/]*/,,' "$TMP/why")"
		return
	fi
	if [ -n "$below" ] && cmp -s "$image" "$(image_of "$below" lean)"; then
		say "  same image as the level below: not booted"
		state "$name" same "$below"
		last=$name
		return
	fi
	if [ -z "$below" ]; then
		choose_accel "$image" "$INITRAMFS"
		say "  accelerator: $ACCEL, ${SMP:-2} CPUs"
	fi
	if ! boot_level "$name" "$dir"; then
		why=$(cat "$TMP/why")
		broken "$name" "${why%%: *}" "${why#*: }"
		return
	fi
	blocked_how=none
	state "$name" booted "$dir"
	if [ -z "$below" ]; then
		boot_again "$name" "$dir" || true
		last=$name
		return
	fi
	booted=$(booted_as "$below")
	if ! python3 "$LIB/try_report.py" --worse "$LOGS/$booted" "$dir"; then
		say "  worse than the level below: booting it again"
		if boot_again "$name" "$dir"; then boot_few "$name" "$booted" "$dir"; fi
	fi
	last=$name
}

# booted_as NAME: prints the level that was booted with the image of NAME.
booted_as() {
	local name=$1 below
	while below=$(awk -F'\t' -v n="$name" '$1 == n && $2 == "same" { print $3 }' "$TMP/states") && [ -n "$below" ]; do
		name=$below
	done
	echo "$name"
}

# keep_folder: reuses a build folder of an earlier series, if the base has none because its
# image is cached. "build" compiles what changed since.
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

# try_levels: builds and boots all levels, the base first. Dies if the base does not boot,
# because there is nothing to compare with.
try_levels() {
	local name n=0
	local -a todo
	mapfile -t todo < <(levels | cut -d' ' -f1)
	last='' blocked_by='' blocked_how=none
	: >"$TMP/states"
	keep_folder
	while [ ${#todo[@]} -gt 0 ]; do
		name=${todo[0]}
		say "level $((n + 1)) of $((n + ${#todo[@]})): $name"
		todo=("${todo[@]:1}")
		n=$((n + 1))
		try_level "$name" "$last"
		[ -n "$last" ] || die "cannot test the base: it $(cut -f3 "$TMP/states" | head -n 1)"
	done
	awk -F'\t' '{ print $1 "\t" ($2 ~ /^not tested: / ? "untested" : "broken") "\t" $2 }' "$TMP/broken" >>"$TMP/states"
}

# warnings_in LOG: prints the compiler's warnings in a log, without folder and line number.
warnings_in() {
	sed -nE -e "s,(^|[ ])$SRC/,\1,g" -e 's,^(\.\./)+src/[^/]+/,,' -e 's/^([^ :]+):[0-9:]+ (warning:.*)/\1: \2/p' "$1" | sort
}

# compile_level NAME COMMIT BELOW: compiles the files that the series changes, with W=1.
# Writes the new warnings to $TMP/warnings/NAME, and the CPU seconds of the changed objects
# to $TMP/cost/NAME.
compile_level() {
	local name=$1 commit=$2 below=$3 obj=$OBJ/objects log=$LOGS/objects-$1.log f
	local -a have=() cost=()
	for f in "${sources[@]}"; do
		if git -C "$SRC" cat-file -e "$commit:$f" 2>/dev/null; then have+=("${f%.c}.o"); fi
	done
	at "$commit"
	if ! (configure "$obj" lean) 2>/dev/null; then
		# The level is "broken". The next one is compared with the one below it.
		cp "$TMP/w1.$below" "$TMP/w1.$name"
		return
	fi
	(cd "$obj" && rm -f "${have[@]}")
	[ ${#have[@]} -gt 0 ] || { : >"$TMP/w1.$name"; return; }
	run kernel_make "$obj" -k W=1 "${have[@]}" >"$log" 2>&1 || true
	warnings_in "$log" >"$TMP/w1.$name"
	if [ -n "$below" ]; then new_lines "$TMP/w1.$below" "$TMP/w1.$name" >"$TMP/warnings/$name" || true; fi
	# Measure only files that differ from the level below.
	for f in "${have[@]}"; do
		if [ ! -e "$obj/$f" ]; then
			grep -q 'error:' "$log" || echo "${f%.o}.c" >>"$TMP/not-compiled"
			continue
		fi
		if [ -z "$below" ] || ! git -C "$SRC" diff --quiet "$commit~1" "$commit" -- "${f%.o}.c"; then cost+=("$f"); fi
	done
	[ ${#cost[@]} = 0 ] || python3 "$LIB/try_cost.py" "$obj" "${cost[@]:0:12}" >"$TMP/cost/$name" 2>>"$LOGS/objects.log" || true
}

# compile_levels: runs compile_level for each level. $TMP/files lists the files that the series
# changes.
compile_levels() {
	local name commit below='' start=$SECONDS
	local -a sources
	mapfile -t sources < <(grep '\.c$' "$TMP/files" | grep -v '^tools/')
	mkdir -p "$TMP/warnings" "$TMP/cost"
	: >"$TMP/not-compiled"
	[ ${#sources[@]} -gt 0 ] || return 0
	say "compiling the changed files with W=1: ${sources[*]}"
	: >"$LOGS/objects.log"
	while read -r name commit <&3; do
		compile_level "$name" "$commit" "$below"
		below=$name
	done 3< <(levels)
	say "  $(levels | wc -l) levels: $((SECONDS - start)) s"
}
