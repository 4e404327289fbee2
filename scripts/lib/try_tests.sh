# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# "try": chooses, builds and packs the tests.
#
# A "word" is a target of kselftest (TARGET), or one program of it (TARGET:PROGRAM). The
# target "stress-ng" is not the tree's: its programs are the stressors of Debian's stress-ng.

TRY_TABLE=$LIB/try.targets
SELFTESTS=tools/testing/selftests

# table_words: prints the words that the table has for the files on stdin, one per line.
table_words() {
	local pattern words f
	local -a files
	mapfile -t files
	while read -r pattern words; do
		for f in "${files[@]}"; do
			# shellcheck disable=SC2053 # a pattern on purpose
			if [[ $f == $pattern ]]; then
				tr ' ' '\n' <<<"$words"
				break
			fi
		done
	done < <(grep -v '^#' "$TRY_TABLE") | awk 'NF && !seen[$0]++'
}

# touched_targets COMMIT: reads files from stdin. For each selftest that the table does not
# list, prints its target: the nearest folder with a Makefile.
touched_targets() {
	local f dir
	while read -r f; do
		[[ $f == "$SELFTESTS"/*/* && -z $(table_words <<<"$f") ]] || continue
		dir=${f%/*}
		while [ "$dir" != "$SELFTESTS" ]; do
			if git -C "$SRC" cat-file -e "$1:$dir/Makefile" 2>/dev/null; then
				echo "${dir#"$SELFTESTS/"}"
				break
			fi
			dir=${dir%/*}
		done
	done | awk '!seen[$0]++'
}

# touched_programs: reads files from stdin. For each selftest of a target that the table
# lists, prints the word of the program.
touched_programs() {
	sed -nE "s,^$SELFTESTS/(mm)/([^/]+)\.c\$,\1:\2,p"
}

# targets_of WORD...: prints their targets, each once.
targets_of() {
	printf '%s\n' "$@" | sed -e '/^CONFIG_/d' -e 's/:.*//' -e '/^$/d' | awk '!seen[$0]++'
}

# check_words COMMIT WORD...: dies if a target does not exist.
check_words() {
	local commit=$1 t
	shift
	for t in $(targets_of "$@"); do
		case $t in
		stress-ng)
			command -v stress-ng >/dev/null ||
				die "TESTS: stress-ng is not installed: run scripts/lab setup neighbours"
			continue
			;;
		.* | /* | */) t=none:$t ;;
		esac
		git -C "$SRC" cat-file -e "$commit:$SELFTESTS/$t/Makefile" 2>/dev/null ||
			die "TESTS: kselftest has no target '$t' at the series' tip: there is no $SELFTESTS/$t/Makefile"
	done
}

# tests_config COMMIT WORD...: prints a config fragment for the tests: the symbols that the
# table has, and the "config" files of the targets. That file is not used for a target that
# the table lists, unless TESTS names it: the lab's config has what that target needs, and an
# image with that config may be in the cache. Modules are left out: the guest has none.
tests_config() {
	local commit=$1 t
	shift
	for t in $(targets_of "$@"); do
		[ -z "${LAX:-}" ] || ! grep -v '^#' "$TRY_TABLE" | grep -qE "[[:space:]]$t(:|[[:space:]]|\$)" || continue
		git -C "$SRC" show "$commit:$SELFTESTS/$t/config" 2>/dev/null | grep -E '^CONFIG_[A-Z0-9_]+=' | grep -v '=m$' || true
	done
	[ -n "${LAX:-}" ] || grep -v '^#' "$TRY_TABLE" | awk -v words="$*" '
		BEGIN { n = split(words, word, " ") }
		{ hit = 0
			for (i = 2; i <= NF; i++) for (j = 1; j <= n; j++) if ($i == word[j] || index($i, word[j] ":") == 1) hit = 1
			for (i = 2; hit && i <= NF; i++) if ($i ~ /^CONFIG_/) print $i }'
	printf '%s\n' "$@" | grep '^CONFIG_' || true
}

# target_programs TARGET: prints a line "KIND NAME" for each program in its Makefile. gen,
# ext and file are built by kselftest's rules, custom by the target's own, script is not
# built.
target_programs() {
	# shellcheck disable=SC2016 # make's own
	make -s --no-print-directory -C "$SRC/$SELFTESTS/$1" OUTPUT="$OBJ/selftests/kselftest/$1" --eval='lab_list: ; @printf "%s\n" \
		$(addprefix gen:,$(notdir $(TEST_GEN_PROGS))) $(addprefix ext:,$(notdir $(TEST_GEN_PROGS_EXTENDED))) \
		$(addprefix file:,$(notdir $(TEST_GEN_FILES))) $(addprefix custom:,$(notdir $(TEST_CUSTOM_PROGS))) \
		$(addprefix script:,$(TEST_PROGS))' lab_list 2>/dev/null | sed -n 's/^\(gen\|ext\|file\|custom\|script\):/\1 /p'
}

# choose_programs TARGET WORD...: sets gen, ext, helpers, custom and scripts to the programs
# of the target to build and run. With LAX, ignores programs that do not exist.
choose_programs() {
	local target=$1 all word name kind
	shift
	mkdir -p "$OBJ/selftests/kselftest/$target"
	all=$(target_programs "$target")
	[ -n "$all" ] || die "the Makefile of kselftest's target '$target' names no program"
	of() { sed -n "s/^$1 //p" <<<"$all"; }
	gen='' ext='' helpers=$(of file) custom='' scripts=''
	if [[ " $* " == *" $target "* ]]; then
		gen=$(of gen) ext=$(of ext) custom=$(of custom)
		# A name that is listed as a script and is also built is a program.
		scripts=$(of script | grep -vxF -e "${helpers:-/}" || true)
		gen+=$'\n'$(of script | grep -xF -e "${helpers:-/}" || true)
		return
	fi
	for word; do
		name=${word#"$target:"}
		[ "$name" != "$word" ] || continue
		kind=$(awk -v n="$name" '$2 == n { print $1; exit }' <<<"$all")
		case $kind in
		gen | ext | file) gen+=" $name" ;;
		custom) custom+=" $name" ;;
		script) scripts+=" $name" ;;
		*) [ -n "${LAX:-}" ] || die "TESTS: kselftest's target '$target' has no program '$name'; it has: $(cut -d' ' -f2 <<<"$all" | paste -sd' ')" ;;
		esac
	done
	[ -n "$scripts" ] || helpers=
}

# make_target TARGET GOAL ARG...: runs kselftest's make for what choose_programs chose.
make_target() {
	local target=$1 goal=$2 o=$OBJ/selftests/kselftest/$1/
	shift 2
	# shellcheck disable=SC2086 # lists of words
	make -C "$SRC/$SELFTESTS" O="$OBJ/selftests" TARGETS="$target" INSTALL_DEP_TARGETS= KSFT_INSTALL_PATH="$ksft" -j"$JOBS" \
		TEST_GEN_PROGS="${gen:+$(printf "$o%s " $gen)}" TEST_GEN_PROGS_EXTENDED="${ext:+$(printf "$o%s " $ext)}" \
		TEST_GEN_FILES="${helpers:+$(printf "$o%s " $helpers)}" TEST_CUSTOM_PROGS="${custom:+$(printf "$o%s " $custom)}" \
		TEST_PROGS="${scripts//$'\n'/ }" TEST_GEN_MODS_DIR= "$@" "$goal"
}

# built LIST: prints the programs of the list that exist.
built() {
	local p
	for p in $1; do
		[ ! -e "$OBJ/selftests/kselftest/$target/$p" ] || echo "$p"
	done
}

# build_target TARGET WORD...: builds the target and installs it in $ksft. Adds its tests to
# $ksft.list, and what cannot run to $ksft.notes.
build_target() {
	local target=$1 gen ext helpers custom scripts p interpreter log=$LOGS/selftests-${1//\//-}.log
	if ! git -C "$SRC" cat-file -e "$commit:$SELFTESTS/$target/Makefile" 2>/dev/null; then
		echo "$target is not in this tree" >>"$ksft.notes"
		return
	fi
	choose_programs "$@"
	[ -n "${gen// /}$custom$scripts" ] || return 0
	[ -n "${gen//[[:space:]]/}" ] || gen=
	run make_target "$target" all -k >"$log" 2>&1 || true
	for p in $gen $custom; do
		[ -e "$OBJ/selftests/kselftest/$target/$p" ] ||
			echo "$target:$p does not build: $(grep -m1 -E "(^|[ /])${p//-/[-_]}\.c:.*error" "$log" ||
				grep -m1 'undefined reference' "$log" || first_error "$log")" >>"$ksft.notes"
	done
	gen=$(built "$gen") ext=$(built "$ext") helpers=$(built "$helpers") custom=$(built "$custom")
	if ! run make_target "$target" install >>"$log" 2>&1; then
		[ -n "${LAX:-}" ] || die "kselftest's target '$target' cannot be installed: $(first_error "$log"); see $log"
		echo "$target cannot be installed: $(first_error "$log")" >>"$ksft.notes"
		return
	fi
	for p in $scripts; do
		interpreter=$(sed -nE '1s,^#! *([^ ]*/env )?([^ ]*/)?([^ ]+).*,\3,p' "$ksft/$target/$p" 2>/dev/null)
		case $interpreter in
		sh | bash | '') continue ;;
		*) echo "$target:$p needs $interpreter, which the guest lacks" >>"$ksft.notes" ;;
		esac
		sed -i "\,^$target:$p\$,d" "$ksft/kselftest-list.txt"
	done
	# There is none if no program of the target was built.
	cat "$ksft/kselftest-list.txt" >>"$ksft.list" 2>/dev/null || true
}

# stress_target WORD...: does what build_target does for the stressors among the words.
stress_target() {
	local dir=$ksft/stress-ng word name
	mkdir -p "$dir"
	cp "$(command -v stress-ng)" "$dir"
	# It may be the only target.
	cp -r "$SRC/$SELFTESTS"/{kselftest,run_kselftest.sh} "$ksft"
	for word; do
		name=${word#stress-ng:}
		[ "$name" != "$word" ] || continue
		[[ " $(stress-ng --stressors) " = *" $name "* ]] ||
			die "TESTS: stress-ng has no stressor '$name'"
		# Two workers, because that is how many CPUs the guest has. The status is
		# kselftest's for "not here", too: 4. Some run only with --pathological, because
		# they may hang a machine.
		printf '#!/bin/sh\nexec ./stress-ng --%s 2 --timeout 15s --temp-path /tmp --pathological\n' \
			"$name" >"$dir/$name"
		chmod +x "$dir/$name"
		echo "stress-ng:$name" >>"$ksft.list"
	done
}

# make_selftests COMMIT ROOT WORD...: builds the tests at that commit, and installs them in
# ROOT/kselftest. Writes what cannot run to $TMP/notes.
make_selftests() {
	local commit=$1 root=$2 ksft=$TMP/ksft t log=$LOGS/selftests.log key kept
	shift 2
	key=$({ git -C "$SRC" ls-tree "$commit" "$SELFTESTS" tools/include include/uapi arch
		gcc --version; { stress-ng --version || true; }; echo "$@" "${LAX:-}"
		declare -f target_programs choose_programs make_target build_target stress_target; } 2>/dev/null | sha)
	kept=$CACHE/selftests/try-$key
	if [ ! -f "$kept/ksft.tar" ]; then
		need_space 2
		rm -rf "$OBJ/selftests" "$ksft" && mkdir -p "$ksft"
		: >"$ksft.list" && : >"$ksft.notes"
		lab_git -C "$SRC" checkout -q -f --detach "$commit"
		run make -C "$SRC" O="$OBJ/selftests" -j"$JOBS" headers >"$log" 2>&1 ||
			die "make headers failed: $(first_error "$log"); see $log"
		for t in $(targets_of "$@"); do
			say "  $t"
			if [ "$t" = stress-ng ]; then stress_target "$@"; else build_target "$t" "$@"; fi
		done
		if [ -d "$ksft/kselftest" ]; then cp "$ksft.list" "$ksft/kselftest-list.txt"; fi
		if grep -qs override-timeout "$ksft/run_kselftest.sh"; then echo "-o 120" >"$ksft/lab-arguments"; fi
		tar -C "$ksft" -cf "$TMP/ksft.tar" .
		cp "$ksft.notes" "$TMP/notes"
		cache_put selftests "try-$key" "$TMP/ksft.tar" "$TMP/notes"
	else
		say "  cached"
	fi
	mkdir -p "$root/kselftest"
	tar -C "$root/kselftest" -xf "$kept/ksft.tar"
	cp "$kept/notes" "$TMP/notes"
}
