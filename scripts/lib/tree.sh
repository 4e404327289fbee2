# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The series, the kernel tree and its levels.
#
# LAB_DIR/tree/BASE is the lab's repository. It has the tag "base", and the branch "stack"
# to work on. SRC, where the lab builds, is a worktree of it. With KERNEL, SRC is a
# separate repository that borrows the objects of KERNEL and writes nothing there. In
# both, refs/lab/stack is the stack as it was last applied.

# git_settings: has git ignore the settings of the user and the machine that would change
# patches or commits: it uses LAB_DIR/gitconfig instead, with those that identify the user,
# that say how to send, and whom to trust. A repository's own settings still apply.
git_settings() {
	local settings item key section name sub value
	command -v git >/dev/null || return 0
	# A command that another one starts has them already.
	if [ "${GIT_CONFIG_GLOBAL:-}" = "$LAB_DIR/gitconfig" ] && [ -r "$LAB_DIR/gitconfig" ]; then return 0; fi
	settings=$(
		printf '[core]\n\tautocrlf = false\n\tfsmonitor = false\n[gc]\n\tauto = 0\n'
		printf '[maintenance]\n\tauto = false\n[checkout]\n\tworkers = 0\n[advice]\n\tdetachedHead = false\n'
		git -C "$TOP" config --null --get-regexp '^(user|b4|patatt|sendemail|credential|http|safe)\.|^core\.excludesfile$' |
			while IFS= read -r -d '' item; do
				key=${item%%$'\n'*} value=
				section=${key%%.*} name=${key##*.}
				sub=${key#"$section".} sub=${sub%"$name"} sub=${sub%.} sub=${sub//\\/\\\\}
				if [ "$item" != "$key" ]; then
					value=${item#*$'\n'} value=${value//\\/\\\\} value=${value//\"/\\\"}
					value=" = \"${value//$'\n'/\\n}\""
				fi
				printf '[%s%s]\n\t%s%s\n' "$section" "${sub:+ \"${sub//\"/\\\"}\"}" "$name" "$value"
			done || true
	)
	# It may have a password.
	(umask 077 && echo "$settings" >"$LAB_DIR/gitconfig.$$") 2>/dev/null ||
		die "cannot write to $LAB_DIR: is the disk full? If not, set LAB_DIR to a folder you can write to"
	mv "$LAB_DIR/gitconfig.$$" "$LAB_DIR/gitconfig"
	export GIT_CONFIG_GLOBAL=$LAB_DIR/gitconfig GIT_CONFIG_NOSYSTEM=1
}

# lab_git: runs git without hooks and signatures, also if the repository has its own.
lab_git() {
	git -c core.autocrlf=false -c core.hooksPath=/dev/null -c commit.gpgSign=false "$@"
}

# why_no_objects REPO: if REPO is a partial clone, says so, and what to do; else returns 1. git
# fetches objects that such a clone lacks only into the clone itself.
why_no_objects() {
	git -C "$1" config --get-regexp '^remote\..*\.promisor$' true >/dev/null || return 1
	echo "it is a partial clone, which lacks files: run git -C $1 fetch --refetch --no-filter"
}

# need_source, need_stack: fetch the tree; also apply the series. This happens once per
# run: LAB_READY tells the commands that this one starts that it is done.
need_source() {
	[[ " ${LAB_READY:-} " != *" source:$KEY "* ]] || return 0
	run "$COMMANDS/fetch" || exit 1
	export LAB_READY="${LAB_READY:-} source:$KEY"
}
need_stack() {
	[[ " ${LAB_READY:-} " != *" stack:$KEY "* ]] || return 0
	need_source
	run "$COMMANDS/apply" || exit 1
	export LAB_READY="$LAB_READY stack:$KEY"
}

# of_series [TOPIC...]: reads a series file from stdin and prints its patches in order: all, or
# those of the TOPICs. A comment "# topic NAME" assigns the patches up to the next such comment.
of_series() {
	awk -v which=" $* " '/^# topic / { topic = $3 }
		{ sub(/[ \t]*#.*/, "") }
		NF && (which == "  " || index(which, " " topic " "))'
}

# series [TOPIC...]: does the same for the series of this base.
series() {
	[ -r "$SERIES" ] || die "no $SERIES: write the stack with 'scripts/lab export'"
	of_series "$@" <"$SERIES"
}

# topics: prints the topics of this base, in the order of their first patches.
topics() {
	[ ! -r "$SERIES" ] || awk '/^# topic / && !seen[$3]++ { print $3 }' "$SERIES"
}

# letter_field NAME FILE: prints the value of "NAME: value" in the header of a letter, which
# ends at the first empty line.
letter_field() {
	sed -n -e '/^$/q' -e "/^$1: */{s///p;q}" "$2"
}

# needs TOPIC [FOR...]: prints the topics that TOPIC needs, and those that these need. FOR are
# the topics that it is needed for.
needs() {
	local needed n
	[[ " ${*:2} " != *" $1 "* ]] || die "topics/$2.md needs $1, which needs $2"
	[ -r "$TOP/topics/$1.md" ] || die "no topics/$1.md: each topic needs one"
	needed=$(letter_field needs "$TOP/topics/$1.md")
	for n in $needed; do
		[[ " $(topics | paste -sd' ') " == *" $n "* ]] ||
			die "topics/$1.md needs $n, but the series has no patch of that topic"
		needs "$n" "$@"
		echo "$n"
	done
}

# in_patches: reads names of patches from stdin, and prints their paths.
in_patches() {
	local p
	while read -r p; do printf '%s\n' "$PATCHES/$p"; done
}

# pinned: prints "BLOB PATH" for each file of the base that the series changes. The first
# patch that touches a file has the blob id of the base in its "index" line.
pinned() {
	local p
	[ -r "$SERIES" ] || return 0
	while read -r p; do
		[ -r "$PATCHES/$p" ] || die "the series lists $p, but there is no $PATCHES/$p"
	done < <(series)
	# shellcheck disable=SC2016 # awk's own
	series | in_patches | xargs -r -d '\n' awk '
		/^diff --git / { head = 1; id = ""; next }
		!head { next }
		/^@@ / { head = 0 }
		/^index / { id = substr($2, 1, index($2, "..") - 1) }
		/^--- a\// && !(substr($0, 7) in seen) {
			if (length(id) != 40) {
				print "fetch: " FILENAME ": no full blob id of " substr($0, 7) " (git format-patch --full-index)" >"/dev/stderr"
				exit 1
			}
			print id, substr($0, 7)
		}
		/^(---|\+\+\+) [ab]\// { seen[substr($0, 7)] = 1 }'
}

# export_patches REPO RANGE DIR: writes the commits to DIR as patches, and their names to
# DIR/series. Their format depends on the commits only, because a repository without settings
# writes them: full blob ids, because short ones depend on the repository; no signature, which
# is git's version; no numbers, in the subjects or names, because a new patch would change all
# others.
export_patches() {
	local range dir p
	range=$(git -C "$1" rev-parse "$2") || return
	mkdir -p "$3"
	dir=$(realpath "$3")
	mkdir "$dir/numbered"
	borrow "$1" "$TMP/plain"
	# The heads of hunks depend on it.
	git -C "$1" cat-file blob "${2#*..}:.gitattributes" >"$TMP/plain/.git/info/attributes" 2>/dev/null || true
	# shellcheck disable=SC2086 # two ids
	lab_git -C "$TMP/plain" format-patch -q -o "$dir/numbered" --no-numbered --no-signature --zero-commit --full-index \
		--no-renames --no-encode-email-headers --stat=72 $range
	(cd "$dir/numbered" && find . -name '*.patch' -printf '%P\n') | sort -n | while read -r p; do
		[ ! -e "$dir/${p#*-}" ] || die "two patches have the subject of ${p#*-}: give one another"
		mv "$dir/numbered/$p" "$dir/${p#*-}"
		echo "${p#*-}"
	done >"$dir/series" || return
	rmdir "$dir/numbered"
}

# same_as_stored REPO REV: whether base..REV equals the stored series.
same_as_stored() {
	local p dir=$TMP/same
	rm -rf "$dir"
	git -C "$1" merge-base --is-ancestor base "$2" 2>/dev/null || return 1
	export_patches "$1" "base..$2" "$dir" || return 1
	cmp -s <(series) "$dir/series" || return 1
	while read -r p; do
		cmp -s "$PATCHES/$p" "$dir/$p" || return 1
	done < <(series)
}

# recommit REPO COMMIT TREE PARENT: copies COMMIT with that tree and parent, prints the id.
recommit() {
	git -C "$1" cat-file commit "$2" | sed -e "1s/.*/tree $3/" -e "2s/.*/parent $4/" |
		git -C "$1" hash-object -t commit -w --stdin
}

# pick_topic [TOPIC]: applies what TOPIC needs and then its own patches to the base, and prints
# "NAME COMMIT" per line, as levels does. Without TOPIC, prints the levels of the whole stack.
pick_topic() {
	local levels needed names name commit parent
	levels=$(levels) || exit 1
	if [ -z "${1:-}" ]; then
		echo "$levels"
		return
	fi
	needed=$(needs "$1") || exit 1
	# shellcheck disable=SC2086 # a list of names
	names=$(if [ -n "$needed" ]; then series $needed; fi; series "$1")
	parent=$(git -C "$SRC" rev-parse "$BASE_REF")
	echo "base $parent"
	local -x GIT_INDEX_FILE=$TMP/index
	lab_git -C "$SRC" read-tree "$parent"
	for name in $names; do
		name=${name%.patch}
		commit=$(awk -v name="$name" '$1 == name { print $2 }' <<<"$levels")
		lab_git -C "$SRC" apply --cached --3way "$PATCHES/$name.patch" 2>"$TMP/apply" ||
			die "topic $1: $name does not apply to the base and what it needs: $(grep -m1 -E '^error|conflicts' "$TMP/apply")"
		parent=$(recommit "$SRC" "$commit" "$(lab_git -C "$SRC" write-tree)" "$parent")
		echo "$name $parent"
	done
}

# levels: prints "NAME COMMIT" per line: the base, then the tree after each patch.
levels() {
	local commits names i
	git -C "$SRC" rev-parse -q --verify "$STACK_REF" >/dev/null 2>&1 ||
		die "the series is not applied yet: run scripts/lab apply"
	mapfile -t commits < <(lab_git -C "$SRC" rev-list --reverse "$BASE_REF..$STACK_REF")
	mapfile -t names < <(series)
	[ "${#commits[@]}" = "${#names[@]}" ] ||
		die "the series has ${#names[@]} patches, but the tree has ${#commits[@]}: run scripts/lab apply"
	echo "base $(lab_git -C "$SRC" rev-parse "$BASE_REF")"
	for i in "${!names[@]}"; do
		echo "${names[i]%.patch} ${commits[i]}"
	done
}

# find_level NAME LEVELS: prints the line of LEVELS for NAME: "base", "tip", the name of a
# level, or a part of it that no other has.
find_level() {
	local found
	case $1 in
	tip) found=$(tail -n 1 <<<"$2") ;;
	*) found=$(awk -v n="$1" '$1 == n { one = $0 } index($1, n) { all = all $0 "\n" }
		END { printf "%s", one != "" ? one : all }' <<<"$2") ;;
	esac
	[ -n "$found" ] ||
		die "no level '$1'; there are: tip $(awk '{ printf "%s ", $1 }' <<<"$2")"
	[ "$(wc -l <<<"$found")" = 1 ] ||
		die "'$1' is a part of several levels: $(cut -d' ' -f1 <<<"$found" | paste -sd' ')"
	echo "$found"
}

# levels_from_to FIRST LAST LEVELS: prints the lines of LEVELS from FIRST to LAST, which may be the
# same; find_level says how to name them.
levels_from_to() {
	local first last
	first=$(find_level "$1" "$3") || exit 1
	last=$(find_level "$2" "$3") || exit 1
	awk -v first="$first" -v last="$last" '$0 == first { on = 1 } on { print }
		on && $0 == last { done = 1; exit } END { exit !done }' <<<"$3" ||
		die "$1..$2: level $2 is below level $1"
}

# source_id COMMIT: prints the parts of a tree that affect a kernel image: all except
# selftests, documentation and MAINTAINERS.
source_id() {
	git -C "$SRC" ls-tree "$1" | grep -vE '	(Documentation|MAINTAINERS|tools)$'
	git -C "$SRC" ls-tree "$1:tools" | grep -v '	testing$'
}

# touched PATTERN: prints the files that the stack changes and whose name matches.
touched() {
	git -C "$SRC" diff --name-only --diff-filter=d --no-renames "$BASE_REF" "$STACK_REF" | grep -E "$1" || true
}

# touched_sources: prints the .c files of the kernel that the stack changes.
touched_sources() {
	touched '\.c$' | grep -v '^tools/' || true
}

# write_touched REF DIR PATTERN: writes that version of the touched files to DIR.
write_touched() {
	local f
	mkdir -p "$2"
	touched "$3" | while read -r f; do
		git -C "$SRC" cat-file -e "$1:$f" 2>/dev/null || continue
		mkdir -p "$2/$(dirname "$f")"
		git -C "$SRC" cat-file blob "$1:$f" >"$2/$f"
	done
}

# at REF: checks it out in the build tree.
at() {
	lab_git -C "$SRC" checkout -q -f --detach "$1"
}

# with_patches COMMIT NAME[+NAME]...: applies a patch for each NAME to the tree of COMMIT, in
# the index $TMP/index: the first bench/kernel/NAME*.patch that applies, or NAME.patch if NAME is
# a path in this repository, such as mutants/thaw-nobody. Returns 1 if none does;
# $TMP/apply says why.
with_patches() {
	local -x GIT_INDEX_FILE=$TMP/index
	local name p applied
	local -a patches
	lab_git -C "$SRC" read-tree "$1"
	for name in ${2//+/ }; do
		applied=
		case $name in */*) patches=("$TOP/$name.patch") ;; *) patches=("$TOP/bench/kernel/$name"*.patch) ;; esac
		for p in "${patches[@]}"; do
			[ -r "$p" ] || die "no ${p#"$TOP/"}"
			if lab_git -C "$SRC" apply --cached "$p" 2>"$TMP/apply"; then applied=1; break; fi
		done
		[ -n "$applied" ] || return 1
	done
}

# borrow REPO DIR: creates a repository in DIR that uses the objects of REPO.
borrow() {
	local from
	from=$(git -C "$1" rev-parse --path-format=absolute --git-common-dir)
	rm -rf "$2"
	mkdir -p "$2"
	lab_git init -q "$2"
	echo "$from/objects" >"$2/.git/objects/info/alternates"
	[ ! -f "$from/shallow" ] || cp "$from/shallow" "$2/.git/shallow"
}

# sparse_repo DIR COMMIT: creates a repository that borrows the objects of the build tree,
# with COMMIT on branch "base". It checks out only the scripts, and the files that
# get_maintainer.pl and b4 need to recognize a kernel tree.
sparse_repo() {
	local dir=$1 commit
	commit=$(git -C "$SRC" rev-parse "$2")
	borrow "$SRC" "$dir"
	git -C "$dir" symbolic-ref HEAD refs/heads/base
	git -C "$dir" config core.sparseCheckout true
	printf '%s\n' '/*' '!/*/*/' /include/linux/oom.h >"$dir/.git/info/sparse-checkout"
	lab_git -C "$dir" reset -q --hard "$commit"
}
