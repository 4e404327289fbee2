# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# "try" and "lint" turn a series of any form into the levels of a tree. LAB_SERIES is the folder
# with its patches; the file "series" in it lists the patches that apply. If a patch does not
# apply, $TMP/broken has the line "NAME<tab>WHY", and the others are applied without it.
# $TMP/without has the line "NAME<tab>OTHER" for each patch NAME that is tested without OTHER.

# take_series SERIES [BASE]: sets the lab's folders, chooses the base of the series, and applies the
# patches. BASE is that of the user, if any, whose config is used. Sets base, tip, and why, which
# says where the base comes from.
take_series() {
	local asked=${2:-}
	form=$(series_form "$1")
	# choose_base sets the base later.
	lab_base
	need_native
	lab_lock
	lab_tmp
	export LAB_SERIES=$LAB_DIR/try/series
	rm -rf "$LAB_DIR/try/series"
	mkdir -p "$LAB_SERIES"
	base='' tip='' why=''
	: >"$TMP/broken"
	: >"$TMP/without"
	[ "$form" != path ] || patches_of "$1"
	[ "$form" != id ] || patches_by_id "$1"
	[ "$form" != range ] || range_of "$1"
	choose_base "$1"
	if [ "$form" = range ]; then
		cp "$LAB_SERIES/series" "$TMP/whole"
		lab_git -C "$SRC" update-ref "$STACK_REF" "$tip"
	else
		apply_patches
		tip=$(git -C "$SRC" rev-parse "$STACK_REF")
	fi
	export LAB_READY="source:$KEY stack:$KEY"
}

# choose_base SERIES: sets base, BASE (which has the config) and the lab's variables.
choose_base() {
	local repo=${KERNEL:-}
	if [ -n "$repo" ]; then
		if [ "$form" = range ]; then why="the start of $1"; else base_in_kernel; fi
		[ -n "$asked" ] || BASE=$(nearest_base "$base")
	fi
	export BASE
	lab_base
	if [ -z "$repo" ]; then
		[ -d "$TREE/.git" ] || LAB_SERIES='' run "$COMMANDS/fetch" || exit 1
		repo=$TREE why="the lab's base $BASE"
		base=$(git -C "$repo" rev-parse "$BASE_REF")
	fi
	say "base: $(git -C "$repo" log -1 --format='%h %s' "$base") ($why), with the config of $BASE"
	make_tree "$repo"
}

# series_form SERIES: prints range, path or id; dies if it is none of them.
series_form() {
	if [ -e "$1" ]; then
		echo path
	elif [[ $1 == *..* && $1 != */* ]] || [[ $1 == *..* && -n ${KERNEL:-} ]]; then
		[ -n "${KERNEL:-}" ] || die "$1 is a range of commits: set KERNEL=/path/to/linux to the tree that has them"
		echo range
	elif [[ $1 == *@* ]]; then
		echo id
	else
		die "$1 does not exist: SERIES is an mbox, a folder of patches, a range A..B of commits in KERNEL, or a message id"
	fi
}

# patches_of PATH: fills LAB_SERIES, and writes what the mails say about their base to
# $TMP/about.
patches_of() {
	"$LIB/try_patches.py" "$LAB_SERIES" "${1/#-/./-}" >"$TMP/about" || exit 1
}

# patches_by_id ID: the same for a thread, which b4 fetches.
patches_by_id() {
	local id=${1#<} found
	id=${id%>}
	command -v b4 >/dev/null || die "b4 is not installed: install it, or pass the mails as an mbox"
	mkdir -p "$TMP/b4"
	run timeout 120 b4 -q am -o "$TMP/b4" "$id" >"$TMP/b4.log" 2>&1 </dev/null ||
		die "b4 cannot get $id (no network?): $(grep -v '^ *$' "$TMP/b4.log" | tail -n 1)"
	found=$(find "$TMP/b4" -name '*.mbx' | head -n 1)
	[ -n "$found" ] || die "b4 found no patches for $id: $(tail -n 1 "$TMP/b4.log")"
	patches_of "$found"
	# b4 leaves the cover letter, which may have the base, in a file of its own.
	grep -q '^base-commit ' "$TMP/about" ||
		sed -n 's/^base-commit: \([0-9a-f]*\)$/base-commit \1/p' "${found%.mbx}.cover" 2>/dev/null | tail -n 1 >>"$TMP/about"
}

# range_of RANGE: the same for commits in KERNEL. Sets base and tip.
range_of() {
	local a=${1%%..*} b=${1#*..} n=0 subject
	[[ $b != .* ]] || die "$1 is not a range A..B"
	tip=$(git -C "$KERNEL" rev-parse -q --verify "${b:-HEAD}^{commit}") || die "KERNEL has no commit '$b'"
	a=$(git -C "$KERNEL" rev-parse -q --verify "${a:-HEAD}^{commit}") || die "KERNEL has no commit '${1%%..*}'"
	base=$(git -C "$KERNEL" merge-base "$a" "$tip") || die "$1: the two commits have no common ancestor"
	[ -z "$(git -C "$KERNEL" rev-list --merges -n 1 "$base..$tip")" ] || die "$1 contains a merge: pass a range without merges"
	while read -r subject; do
		n=$((n + 1))
		printf '%04d-%s.patch\n' "$n" "$subject"
	done < <(git -C "$KERNEL" log --reverse --format=%f "$base..$tip") >"$LAB_SERIES/series"
	[ -s "$LAB_SERIES/series" ] || die "$1 has no commits"
	: >"$TMP/about"
}

# with_prerequisites COMMIT: prints the last commit of KERNEL after COMMIT that is a
# prerequisite patch of the series; prints nothing if a prerequisite is missing.
with_prerequisites() {
	local ids last
	ids=$(sed -n 's/^prerequisite //p' "$TMP/about")
	# With the settings of KERNEL, the ids may be others.
	borrow "$KERNEL" "$TMP/plain"
	git -C "$TMP/plain" log -p -n 5000 --no-merges "$1..$(git -C "$KERNEL" rev-parse HEAD)" 2>/dev/null |
		git patch-id --stable >"$TMP/ids"
	[ "$(grep -cF "$ids" "$TMP/ids")" = "$(wc -l <<<"$ids")" ] || return 0
	# The newest commit comes first.
	last=$(grep -m1 -F "$ids" "$TMP/ids")
	echo "${last#* }"
}

# base_in_kernel: sets base to the base-commit of the mails if KERNEL has it, else to HEAD.
base_in_kernel() {
	local named found=
	base=$(git -C "$KERNEL" rev-parse 'HEAD^{commit}')
	why="HEAD of KERNEL"
	named=$(sed -n 's/^base-commit //p' "$TMP/about")
	[ -n "$named" ] || return 0
	named=$(git -C "$KERNEL" rev-parse -q --verify "$named^{commit}") || {
		why+=", which lacks the series' base-commit"
		return 0
	}
	if grep -q '^prerequisite ' "$TMP/about"; then
		found=$(with_prerequisites "$named")
		if [ -z "$found" ]; then
			why+=", which lacks the prerequisites of the series"
			return 0
		fi
	fi
	base=${found:-$named}
	why="the series' base-commit${found:+ with its prerequisites}"
}

# nearest_base COMMIT: prints the base of the lab whose config fits that commit's version
# best: the newest base that is not newer than it, else the oldest base.
nearest_base() {
	local version b v best
	# Read to its end: a kernel's Makefile does not fit in a pipe, and git would get SIGPIPE.
	version=$(git -C "$KERNEL" show "$1:Makefile" 2>/dev/null |
		awk '$1 == "VERSION" { v = $3 } $1 == "PATCHLEVEL" { print v "." $3 }' || true)
	[ -n "$version" ] || die "KERNEL is not a kernel tree: its commit $1 has no Makefile with a version"
	best=
	for b in $(bases); do
		v=$(sed -n 's/^BASE_VERSION=v//p' "$TOP/configs/$b.base")
		best=$b
		[ "$(printf '%s\n' "$v" "$version" | sort -V | head -n 1)" != "$v" ] || break
	done
	echo "$best"
}

# make_tree REPO: makes SRC a separate repository that borrows the objects of REPO, and
# checks out the commit $base in it.
make_tree() {
	local from
	from=$(git -C "$1" rev-parse --path-format=absolute --git-common-dir)/objects
	need_space 6
	if [ "$(cat "$SRC/.git/objects/info/alternates" 2>/dev/null)" != "$from" ]; then borrow "$1" "$SRC"; fi
	rm -rf "$SRC/.git/rebase-apply" "$SRC/.git/index.lock"
	progress "tree to build in" "$TMP/log" lab_git -C "$SRC" checkout -q -f --detach "$base" ||
		die "cannot check out $base of $1: $(why_no_objects "$1" || tail -n 1 "$TMP/log")"
	lab_git -C "$SRC" clean -q -ffdx
	lab_git -C "$SRC" tag -f base "$base" >/dev/null
	lab_git -C "$SRC" update-ref "$STACK_REF" "$base"
}

# apply_patches: commits the patches that apply. One that does not is blamed if it is the first:
# nobody knows whether a later one would apply with those before it.
apply_patches() {
	local p first='' why
	: >"$TMP/applied"
	while read -r p; do
		if ! GIT_COMMITTER_NAME=lab GIT_COMMITTER_EMAIL=lab@localhost lab_git -C "$SRC" am -q --no-3way \
			--patch-format=mboxrd --quoted-cr=strip --whitespace=nowarn \
			--committer-date-is-author-date "$LAB_SERIES/$p" >"$TMP/am" 2>&1 </dev/null; then
			lab_git -C "$SRC" am --abort >/dev/null 2>&1 || lab_git -C "$SRC" reset -q --hard
			why=$(grep -m1 -E '^(error|fatal):' "$TMP/am" || tail -n 1 "$TMP/am")
			printf '%s\t%s: %s\n' "${p%.patch}" "${first:+not tested: without $first, it }does not apply" "$why" >>"$TMP/broken"
			[ -n "$first" ] || first=${p%.patch}
			continue
		fi
		[ -z "$first" ] || printf '%s\t%s\n' "${p%.patch}" "$first" >>"$TMP/without"
		echo "$p" >>"$TMP/applied"
	done <"$LAB_SERIES/series"
	cp "$LAB_SERIES/series" "$TMP/whole"
	cp "$TMP/applied" "$LAB_SERIES/series"
	lab_git -C "$SRC" update-ref "$STACK_REF" "$(git -C "$SRC" rev-parse HEAD)"
}
