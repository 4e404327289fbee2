# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The mutants: patches on top of mainline's stack that make one thing wrong. The command
# "mutants" and the check of that name source this after lab.sh.
#
# mutants/NAME.patch begins with these lines:
#   Wrong:    what is wrong
#   Notice:   what a user would notice
#   Found-by: the tests that should find it, with * and ?; "splat" for the kernel's log
#   Control:  NAME, if the mutant applies on top of mutants/controls/NAME.patch
# A control widens a race or feigns a failure, and has only the line "Control:", which says
# what it does. All tests pass with a control alone.

MUTANTS=$TOP/mutants

# mutant_line NAME FIELD: prints that line of the header.
mutant_line() {
	awk -v field="$2: " '/^diff / { exit }
		index($0, field) == 1 { print substr($0, length(field) + 1) }' "$MUTANTS/$1.patch"
}

# choose_mutants [NAME...]: prints the names of these mutants, or of all. Those with a
# control come last, and those with the same one together.
choose_mutants() {
	local name control
	local -a all
	mapfile -t all < <(cd "$MUTANTS" && printf '%s\n' *.patch | sed 's/\.patch$//')
	for name; do
		[[ " ${all[*]} " == *" $name "* ]] || die "no mutant '$name'; there are: ${all[*]}"
	done
	[ $# != 0 ] || set -- "${all[@]}"
	for name; do
		control=$(mutant_line "$name" Control)
		echo "${control:--} $name"
	done | sort -u | cut -d' ' -f2
}

# control_level NAME: prints the level that this mutant is compared with: all tests pass there.
control_level() {
	local control
	control=$(mutant_line "$1" Control)
	echo "tip${control:++mutants/controls/$control}"
}

# check_mutants COMMIT NAME...: prints what is wrong with these patches, if anything: the
# header, the tests that it names, or that one does not apply to COMMIT.
check_mutants() {
	local commit=$1 name field test level now='' tests
	local -x GIT_INDEX_FILE=$TMP/index
	shift
	tests=$(sed -n 's/^\([^# ]*\) .*/\1/p' "$EXPECTED")
	for name; do
		for field in Wrong Notice Found-by; do
			[ -n "$(mutant_line "$name" "$field")" ] || echo "mutants/$name.patch has no line '$field: ...'"
		done
		for test in $(mutant_line "$name" Found-by); do
			[ "$test" = splat ] || one_matches "$test" "$tests" ||
				echo "mutants/$name.patch: no test '$test' in ${EXPECTED#"$TOP/"}"
		done
		# Reading a tree is slow; names with the same control are adjacent.
		level=$(control_level "$name")
		[ "$level" = "$now" ] || with_patches "$commit" "${level#tip}" ||
			echo "${level#tip+}.patch does not apply: $(head -n 1 "$TMP/apply")"
		now=$level
		lab_git -C "$SRC" apply --cached --check "$MUTANTS/$name.patch" 2>"$TMP/apply" ||
			echo "mutants/$name.patch does not apply: $(head -n 1 "$TMP/apply")"
	done
}

# one_matches PATTERN LINES: whether one of the LINES does, with * and ?.
one_matches() {
	local line
	while read -r line; do
		# shellcheck disable=SC2053 # a pattern
		if [[ $line == $1 ]]; then return 0; fi
	done <<<"$2"
	return 1
}
