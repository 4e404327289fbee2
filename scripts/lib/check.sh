# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What reviewers and the lists' bots look at in a patch; sourced by scripts/check,
# which runs each check_NAME in a process of its own. lint_NAME takes files, says
# each finding in a line, and returns 1 if there is one: what
# scripts/tests/test_lint feeds bad files to. lib.sh and TMP are there.

# shellcheck disable=SC2034 # these are for scripts/check
# Those that look at the patches' text; those that look at what is applied; those
# that compile or take a minute or two; and what takes longer.
LINT_TEXT='cover columns references codespell spdx'
LINT_STACK='whitespace maintainers symbols kerneldoc docs'
LINT_BUILD='sparse objects coccicheck'
LINT_LONG=warnings
LINT_CHECKS="$LINT_TEXT $LINT_STACK $LINT_BUILD $LINT_LONG"

# The words that codespell takes for misspelt ones and that are right, each with its
# reason; so far there is none.
LINT_WORDS=

# own_files: all files of this repository; on another base than mainline, where
# only its patches are looked at, none.
own_files() {
	[ "$BASE" = mainline ] || return 0
	# Whoever owns the clone: only names are read.
	git -c safe.directory="$TOP" ls-files -co --exclude-standard | while read -r f; do
		[ ! -f "$f" ] || echo "$f"
	done
}

# touched PATTERN: the files that the stack changes, whose name matches.
touched() {
	git -C "$SRC" diff --name-only --diff-filter=d --no-renames "$BASE_REF" "$STACK_REF" | grep -E "$1" || true
}

touched_sources() {
	touched '\.c$' | grep -v '^tools/' || true
}

added() {
	git -C "$SRC" diff --name-only --diff-filter=A --no-renames "$BASE_REF" "$STACK_REF"
}

in_base() {
	git -C "$SRC" cat-file -e "$BASE_REF:$1" 2>/dev/null
}

# write_touched REF DIR PATTERN: that version of the touched files, below DIR.
write_touched() {
	local f
	touched "$3" | while read -r f; do
		git -C "$SRC" cat-file -e "$1:$f" 2>/dev/null || continue
		mkdir -p "$2/$(dirname "$f")"
		git -C "$SRC" cat-file blob "$1:$f" >"$2/$f"
	done
}

# new_lines BEFORE AFTER: the lines of AFTER that are not in BEFORE, or not as
# often; line numbers do not count. Returns 1 if there are any.
new_lines() {
	awk 'function key(s) {
			gsub(/:[0-9]+(:[0-9]+)?(-[0-9]+)?/, "", s)
			gsub(/ line [0-9]+/, "", s)
			gsub(/\+0x[0-9a-f]+/, "", s)
			return s
		}
		FILENAME == ARGV[1] { had[key($0)]++; next }
		had[key($0)]-- < 1 { print; bad = 1 }
		END { exit bad }' "$1" "$2"
}

# lint_columns FILE...: lines of a patch's message or of a letter that are longer
# than 75 columns. A table of a letter is not broken, nor what has no blank in it
# (links), nor a trailer.
lint_columns() {
	awk -v max=75 '
		function width(s,  i) {
			# Of a character in UTF-8, the first byte counts.
			gsub(/[\200-\277]/, "", s)
			while ((i = index(s, "\t")))
				s = substr(s, 1, i - 1) substr("        ", 1 + (i - 1) % 8) substr(s, i + 1)
			return length(s)
		}
		function check(s, what) {
			if (width(s) <= max)
				return
			printf "%s:%d: %d columns: %s\n", FILENAME, FNR, width(s), what
			bad = 1
		}
		function subject_ends() {
			sub(/^Subject: (\[PATCH[^]]*\] )?/, "", subject)
			check(subject, subject)
			subject = ""
		}
		FNR == 1 { patch = FILENAME ~ /\.patch$/; head = 1; done = 0; subject = "" }
		done { next }
		head {
			if (patch && subject != "" && /^[ \t]/) {
				subject = subject $0
				next
			}
			if (subject != "")
				subject_ends()
			if (/^Subject: /)
				subject = $0
			if (/^$/)
				head = 0
			next
		}
		patch && (/^---$/ || /^diff --git /) { done = 1; next }
		!patch && /^[ \t]*\|/ { next }
		/^[ \t]*[^ \t]+$/ { next }
		/^\[[0-9]+\] [^ \t]+$/ { next }
		/^(Fixes|Link|Closes|Cc|Depends-on|[A-Z][-A-Za-z]*-by): / { next }
		{ check($0, $0) }
		END { exit bad }' "$@"
}

# lint_references FILE...: commits are named as: commit 0123456789ab ("subject"),
# and in a trailer of one line as: Fixes: 0123456789ab ("subject"). Those of a
# stable tree have the whole id: commit ... upstream. With KERNEL in the
# environment, the commits are there and have that subject.
lint_references() {
	perl -e '
		my ($bad, $kernel) = (0, $ENV{KERNEL} // "");
		sub say_bad { print "$_[0]: $_[1]\n"; $bad = 1 }
		sub known {
			my ($file, $id, $subject) = @_;
			return if $kernel eq "";
			my $got = qx{git -C "\$KERNEL" log -1 --format=%s $id^{commit} -- 2>/dev/null};
			$got =~ s/\n//;
			if ($got eq "") { say_bad($file, "commit $id is not in KERNEL"); }
			elsif ($got ne $subject) { say_bad($file, "commit $id is \"$got\" and not \"$subject\""); }
		}
		for my $file (@ARGV) {
			open(my $in, "<", $file) or die "$file: $!\n";
			local $/;
			my $text = <$in>;
			$text =~ s/^.*?\n\n//s;
			if ($file =~ /\.patch$/) {
				$text =~ s/^(---|diff --git .*)\n.*//ms;
			}
			my @rest;
			for (split /\n/, $text) {
				if (/^\s*Fixes:/i) {
					if (/^Fixes: ([0-9a-f]{12,40}) \("(.+)"\)$/) { known($file, $1, $2); }
					else { say_bad($file, "not in the form Fixes: 0123456789ab (\"subject\"): $_"); }
				} elsif (!/^[A-Z][-A-Za-z]*-by: / && !/^(Cc|Link|Closes): /) {
					push @rest, $_;
				}
			}
			$_ = join(" ", @rest);
			s,\w+://\S+,,g;
			s/\s+/ /g;
			while (/(\bcommits? )?\b([0-9a-f]{7,40})\b( upstream\b)?(?: \("(.+?)"\))?/gi) {
				my ($commit, $id, $upstream, $subject) = ($1, $2, $3, $4);
				# A number or a word is no id.
				next if !$commit && ($id !~ /[0-9]/ || $id !~ /[a-f]/i);
				next if $commit && $upstream && length($id) == 40;
				if (!$commit) { say_bad($file, "\"$id\" is not named as commit $id (\"subject\")"); }
				elsif (length($id) < 12) { say_bad($file, "commit $id has ".length($id)." digits and not 12 or more"); }
				elsif (!defined($subject)) { say_bad($file, "commit $id comes without its (\"subject\")"); }
				else { known($file, $id, $subject); }
			}
		}
		exit $bad' "$@"
}

# lint_codespell FILE...: of a patch, the message and the added lines.
lint_codespell() {
	local f out dir=$TMP/spell rc=0
	rm -rf "$dir"
	for f; do
		mkdir -p "$dir/$(dirname "$f")"
		case $f in
		# What is not looked at stays as an empty line, for the line numbers.
		*.patch) awk '/^diff --git /{ diff = 1 } diff && (!/^\+/ || /^\+\+\+ /) { print ""; next } { print }' "$f" >"$dir/$f" ;;
		*) cp "$f" "$dir/$f" ;;
		esac
	done
	out=$(cd "$dir" && codespell ${LINT_WORDS:+-L "${LINT_WORDS// /,}"} . 2>&1) || rc=$?
	[ -z "$out" ] || printf '%s\n' "${out//.\//}"
	return "$rc"
}

# lint_spdx FILE...: an SPDX line, in the first three of each file that a patch
# adds, and in the first five of any other file.
lint_spdx() {
	awk 'function ends() {
			if (name != "" && !found) {
				print from ": no SPDX line at the start of " name
				bad = 1
			}
			name = ""
		}
		FNR == 1 { ends() }
		FNR == 1 {
			patch = FILENAME ~ /\.patch$/
			from = FILENAME
			max = patch ? 3 : 5
			name = patch ? "" : FILENAME
			lines = found = 0
		}
		patch && /^diff --git / { ends(); new = 0 }
		patch && /^new file mode / { new = 1 }
		patch && new && /^\+\+\+ b\// { name = substr($0, 7); lines = found = new = 0; next }
		patch && !/^\+/ { next }
		name != "" && ++lines <= max && /SPDX-License-Identifier: / { found = 1 }
		END { ends(); exit bad }' "$@"
}

# What git takes for bad, whatever the user has told it.
git_check() {
	git -c core.whitespace=blank-at-eol,blank-at-eof,space-before-tab -c color.ui=never \
		"$@" 2>&1 | awk '!/^\+/ { print; bad = 1 } END { exit bad }'
}

# lint_whitespace FILE...: what git finds in a file that is all new.
lint_whitespace() {
	local f out rc=0
	for f; do
		# It says 1 where there is only a difference.
		out=$(git_check diff --no-index --check /dev/null "$f") || true
		[ -z "$out" ] || { echo "$out"; rc=1; }
	done
	return "$rc"
}

# lint_diff TREE BEFORE AFTER: what it finds in what AFTER adds.
lint_diff() {
	git_check -C "$1" diff --check "$2" "$3"
}

# lint_cover VERSION FILE: a letter has a subject and says what its base is.
lint_cover() {
	local rc=0
	[ -r "$2" ] || { echo "there is no $2"; return 1; }
	head -n 1 "$2" | grep -q '^Subject: .' || { echo "$2:1: not 'Subject: ...'"; rc=1; }
	grep -qE "^base: ${1//./\\.}( |$)" "$2" || { echo "$2: no line 'base: $1'"; rc=1; }
	return $rc
}

# lint_series FILE...: the patches are in the order of their numbers.
lint_series() {
	awk 'FNR == 1 { n = 0 }
		/^#/ { next }
		{ want = sprintf("%04d-", ++n) }
		index($0, want) != 1 { print FILENAME ":" FNR ": " $0 " does not begin with " want; bad = 1 }
		END { exit bad }' "$@"
}

# What is sent, or, with LINT_SERIES, the part of it in one of the series of mails.
relative_patches() {
	series "${LINT_SERIES:-}" | sed "s,^,${PATCHES#"$TOP/"}/,"
}

covers() {
	local which
	for which in ${LINT_SERIES:-mm tests}; do
		[ -z "$(series "$which")" ] || (mail_series "$which" && echo "${COVER#"$TOP/"}")
	done
}

check_cover() {
	local rc=0 f
	for f in $(covers); do lint_cover "$BASE_VERSION" "$f" || rc=1; done
	lint_series "${SERIES#"$TOP/"}" || rc=1
	return $rc
}

check_columns() {
	local -a files
	mapfile -t files < <(relative_patches; covers)
	lint_columns "${files[@]}"
}

check_references() {
	local -a files
	mapfile -t files < <(relative_patches; covers)
	if [ -n "${KERNEL:-}" ] && [ "$(git -C "$KERNEL" rev-parse --is-shallow-repository)" = true ]; then
		echo "note: KERNEL is a shallow clone: no commit is looked up in it"
		unset KERNEL
	fi
	lint_references "${files[@]}"
}

check_codespell() {
	local -a files
	mapfile -t files < <({
		relative_patches
		covers
		# test_lint has words that are to be found.
		own_files | grep -E '\.md$|^(selftests|bench|scripts|configs|man)/' |
			grep -v '/test_lint$'
	} | sort -u)
	lint_codespell "${files[@]}"
}

check_spdx() {
	local -a files
	# Without one: the licence itself; lists and tables that are read line by line;
	# letters and messages that are sent as they are; what has no comments.
	mapfile -t files < <(
		relative_patches
		own_files | grep -vE '(^|/)(COPYING|series|expected|COVER_LETTER(\.tests)?\.md)$|\.(patch|json|svg)$'
	)
	lint_spdx "${files[@]}"
}

check_whitespace() {
	local name commit before rc=0 levels
	local -a files
	levels=$(levels)
	before=
	while read -r name commit; do
		if [ -n "$before" ]; then
			lint_diff "$SRC" "$before" "$commit" | sed "s,^,$name.patch: ," || rc=1
		fi
		before=$commit
	done <<<"$levels"
	# An empty line of context in a patch is a blank.
	# Pictures are as their programs write them.
	mapfile -t files < <(own_files | grep -vE '\.(patch|svg)$')
	lint_whitespace "${files[@]}" || rc=1
	return $rc
}

at() {
	lab_git -C "$SRC" checkout -q -f --detach "$1"
}

# Each file that the stack adds has a maintainer and a list, and not only those of
# the whole kernel.
check_maintainers() {
	local f out rc=0
	at "$STACK_REF"
	for f in $(added); do
		out=$(cd "$SRC" && perl scripts/get_maintainer.pl --nogit --nogit-fallback --roles -f "$f")
		grep -E '\((maintainer|supporter|odd fixer)[^)]*:' <<<"$out" | grep -qv ':THE REST' ||
			{ echo "$f: MAINTAINERS names nobody for it"; rc=1; }
		grep -E '\((open|moderated|subscriber) list:' <<<"$out" | grep -qv '^linux-kernel@' ||
			{ echo "$f: MAINTAINERS names no list for it"; rc=1; }
	done
	return $rc
}

# The symbols that the stack asks for in the selftests' config files exist.
check_symbols() {
	local rc=0 s
	git -C "$SRC" diff -U0 --no-renames "$BASE_REF" "$STACK_REF" -- 'tools/testing/selftests/**/config' |
		sed -n 's/^+.*\bCONFIG_\([A-Za-z0-9_]*\).*/\1/p' | sort -u >"$TMP/wanted"
	git -C "$SRC" grep -hE '^[[:space:]]*(menu)?config[[:space:]]' "$STACK_REF" -- '*Kconfig*' |
		awk '{ print $2 }' | sort -u >"$TMP/symbols"
	[ -s "$TMP/symbols" ] || die "no symbols in the Kconfig files of $SRC"
	while read -r s; do
		echo "CONFIG_$s is in a selftest's config and in no Kconfig file"
		rc=1
	done < <(comm -23 "$TMP/wanted" "$TMP/symbols")
	return $rc
}

# The first of the FILEs that the tip has: things move between releases.
first_of() {
	local f
	for f; do
		if [ -e "$SRC/$f" ]; then echo "$SRC/$f"; return 0; fi
	done
	die "$BASE has none of: $*"
}

check_kerneldoc() {
	local doc side f wall='' rc=0
	at "$STACK_REF"
	doc=$(first_of tools/docs/kernel-doc scripts/kernel-doc)
	# Older ones warn of all there is without it.
	if grep -q -- -Wall "$doc" "$SRC"/tools/lib/python/kdoc/*.py 2>/dev/null; then wall=-Wall; fi
	write_touched "$BASE_REF" "$TMP/kdoc/base" '\.[ch]$'
	write_touched "$STACK_REF" "$TMP/kdoc/tip" '\.[ch]$'
	# A comment that has to be warned of: whether it runs at all.
	printf '%s\n' '/**' ' * probe() - a probe, of which it does not say what a is' ' */' 'int probe(int a);' >"$TMP/kdoc/tip/probe.h"
	for side in base tip; do
		(cd "$TMP/kdoc/$side" && find . -name '*.[ch]' -not -path './tools/*' | sort | while read -r f; do
			# Debian's python3: the lab's packages are for that one.
			PATH=/usr/bin:$PATH "$doc" -none $wall "${f#./}" 2>&1 || true
		done) >"$TMP/kdoc.$side"
	done
	grep -q "probe\.h:.*'a' not described" "$TMP/kdoc.tip" || { echo "$doc does not see a wrong comment: $(head -n 1 "$TMP/kdoc.tip")"; return 1; }
	sed -i '/^\(Warning: \|Error: \)\{0,1\}probe\.h:/d' "$TMP/kdoc.tip"
	new_lines "$TMP/kdoc.base" "$TMP/kdoc.tip" || rc=1
	return $rc
}

# The documents that the stack touches: Sphinx on their folders, and the tree's own
# search for documents that are named and not there.
check_docs() {
	local f d name rc=0 obj=$OBJ/docs log=$LOGS/lint-docs
	local -a docs dirs=()
	mapfile -t docs < <(touched '^Documentation/')
	if [ ${#docs[@]} = 0 ]; then
		echo "note: the stack touches no document"
		return 0
	fi
	for f in "${docs[@]}"; do
		[[ $f = *.rst ]] || continue
		d=$(dirname "$f")
		# SPHINXDIRS takes folders with an index.
		while [ "$d" != . ] && ! git -C "$SRC" cat-file -e "$STACK_REF:$d/index.rst" 2>/dev/null; do
			d=$(dirname "$d")
		done
		d=${d#Documentation}
		dirs+=("${d:-.}")
	done
	mapfile -t dirs < <(printf '%s\n' "${dirs[@]#/}" | sort -u)
	build_docs() {
		at "$1"
		rm -rf "$obj"
		mkdir -p "$obj"
		PATH=/usr/bin:$PATH kernel_make "$obj" SPHINXDIRS="${dirs[*]}" SPHINXOPTS=-q htmldocs >"$2" 2>&1 ||
			die "make htmldocs failed: $(first_error "$2"); see $2"
		find "$obj" -name '*.html' | grep -q . || die "make htmldocs made nothing: $(tail -n 1 "$2"); see $2"
		sed "s,$SRC/,,g" "$2" | grep -E 'WARNING|ERROR|CRITICAL|SEVERE' >"$2.warnings" || true
	}
	if [ -n "${dirs[*]}" ]; then
		build_docs "$STACK_REF" "$log.tip"
		: >"$log.base.warnings"
		# What is there without the stack is seen only where there is something.
		if printf '%s:\n' "${docs[@]}" | grep -qFf - "$log.tip.warnings"; then
			build_docs "$BASE_REF" "$log.base"
		fi
		new_lines "$log.base.warnings" "$log.tip.warnings" | grep -F "$(printf '%s:\n' "${docs[@]}")" && rc=1
		rm -rf "$obj"
	fi
	for name in base tip; do
		if [ "$name" = base ]; then at "$BASE_REF"; else at "$STACK_REF"; fi
		(cd "$SRC" && PATH=/usr/bin:$PATH "$(first_of tools/docs/documentation-file-ref-check scripts/documentation-file-ref-check)") >"$TMP/refs.$name" 2>&1 ||
			[ -s "$TMP/refs.$name" ] || die "documentation-file-ref-check does not run in $SRC"
	done
	new_lines "$TMP/refs.base" "$TMP/refs.tip" || rc=1
	return $rc
}

# lint_make NAME REF ARG...: make with the lean config, in a folder that is kept.
lint_make() {
	local log=$LOGS/lint-$1.log ref=$2
	shift 2
	at "$ref"
	scripts/kconfig "$OBJ/lint" lean
	kernel_make "$OBJ/lint" "$@" >"$log" 2>&1 ||
		die "${log##*/lint-} does not compile: $(first_error "$log"); see $log"
}

# What sparse says of the touched files at the tip and not at the base. Of each
# file a copy with bugs at its end is read, too: sparse has to see these.
check_sparse() {
	local side f rc=0
	local -a sources there
	mapfile -t sources < <(touched_sources)
	if [ ${#sources[@]} = 0 ]; then
		echo "the stack changes no source of the kernel"
		return 4
	fi
	cat >"$TMP/sparse" <<-'X'
		#!/bin/bash
		# Kbuild asks what it can do with, as the last argument, a file of its own.
		source=${*: -1} args=("${@:1:$#-1}")
		# sparse 0.6.4 has not got this one, and newer trees want it.
		echo 'static int a; extern __typeof_unqual__(a) b;' | sparse - 2>&1 | grep -q error &&
			args=(-D__typeof_unqual__=__typeof__ "${args[@]}")
		name=${source##*/}
		if [[ $source != "$LINT_SRC"/* && $source = /* ]]; then exec sparse "${args[@]}" "$source"; fi
		{
			cat "$source"
			echo 'int lint_types(int __user *p); int lint_types(int __user *p) { int *q = p; return *q; }'
			echo 'int lint_flow(void); int lint_flow(void) { return *(int __user *)8; }'
		} >"$LINT_OUT/probe-$name"
		sparse "${args[@]}" "$LINT_OUT/probe-$name" >"$LINT_OUT/$name.probe" 2>&1
		rm -f "$LINT_OUT/probe-$name"
		sparse "${args[@]}" "$source" >"$LINT_OUT/$name.sparse" 2>&1
		exit 0
	X
	chmod +x "$TMP/sparse"
	for side in base tip; do
		there=()
		for f in "${sources[@]}"; do
			if [ "$side" = tip ] || in_base "$f"; then there+=("${f%.c}.o"); fi
		done
		mkdir "$TMP/$side"
		[ ${#there[@]} -gt 0 ] || continue
		LINT_SRC=$SRC LINT_OUT=$TMP/$side lint_make "sparse-$side" \
			"$([ "$side" = tip ] && echo "$STACK_REF" || echo "$BASE_REF")" C=2 CHECK="$TMP/sparse" "${there[@]}"
	done
	for f in "${sources[@]##*/}"; do
		if ! grep -qs 'probe-.*warning: incorrect type in initializer' "$TMP/tip/$f.probe"; then
			echo "$f: sparse does not read it to its end: $(grep -m1 error "$TMP/tip/$f.probe" || tail -n 1 "$LOGS/lint-sparse-tip.log")"
			rc=1
		elif ! grep -q 'probe-.*warning: dereference of noderef' "$TMP/tip/$f.probe"; then
			# It goes no further where it takes a line for an error. One that the
			# stack brings is among what is new, below.
			echo "note: of $f sparse checks the types only, for $(grep -m1 error: "$TMP/tip/$f.probe" | sed "s,.*/probe-,,")"
		fi
	done
	cat "$TMP/base"/*.sparse >"$TMP/before" 2>/dev/null || true
	cat "$TMP/tip"/*.sparse >"$TMP/after" 2>/dev/null || true
	new_lines "$TMP/before" "$TMP/after" | sed "s,$SRC/,," || rc=1
	return $rc
}

# W=1 on the folders that the stack touches: no warning that the base has not. Of
# what a touched header goes into, that is the part that is looked at. The base is
# compiled only where the tip has warnings.
check_warnings() {
	local rc=0
	local -a dirs
	mapfile -t dirs < <(touched '\.[ch]$' | grep -vE '^(tools|include)/' | sed 's,/[^/]*$,/,' | sort -u)
	if [ ${#dirs[@]} = 0 ]; then
		echo "the stack changes no source of the kernel"
		return 4
	fi
	w1() {
		# All anew, or warnings of an earlier run would not be seen.
		(cd "$OBJ/lint" 2>/dev/null && rm -rf "${dirs[@]}") || true
		lint_make "warnings-$1" "$2" W=1 "${dirs[@]}"
		grep -q '^  CC ' "$LOGS/lint-warnings-$1.log" || die "make W=1 ${dirs[*]} compiles nothing at the $1"
		grep -E '(warning|error):' "$LOGS/lint-warnings-$1.log" >"$TMP/warnings.$1" || true
	}
	w1 tip "$STACK_REF"
	[ -s "$TMP/warnings.tip" ] || return 0
	w1 base "$BASE_REF"
	new_lines "$TMP/warnings.base" "$TMP/warnings.tip" | sed "s,$SRC/,," || rc=1
	return $rc
}

check_objects() {
	scripts/objects
}

# The tree's semantic patches on the .c files that the stack touches, selftests,
# too: what they report of the tip and not of the base. The base is looked at only
# by those that report something, or fail, at the tip.
check_coccicheck() {
	# The slowest took 40 s on two cores that had other work.
	local limit=300 rc=0 rule failed=0 n
	command -v spatch >/dev/null || { echo "no spatch: scripts/setup installs coccinelle"; return 1; }
	at "$STACK_REF"
	write_touched "$BASE_REF" "$TMP/base" '\.c$'
	write_touched "$STACK_REF" "$TMP/tip" '\.c$'
	mkdir -p "$TMP/base" "$TMP/tip" "$TMP/base.out" "$TMP/tip.out"
	# One that a rule has to report: whether they run at all.
	printf '%s\n' 'int a[9];' 'int probe(void)' '{' '	return sizeof(a) / sizeof(a[0]);' '}' >"$TMP/tip/probe.c"
	# one_rule SIDE RULE: what it reports is in SIDE.out/RULE, its status in
	# .rc and what it complains of in .err. The folder is srcroot, or KBUILD_EXTMOD
	# in older trees.
	cat >"$TMP/one_rule" <<-X
		#!/bin/bash
		name=\${2##*/}
		rc=0
		env -u C -u V -u SPFLAGS MODE=report J=1 COCCI="\$2" srctree="$SRC" srcroot="$TMP/\$1" KBUILD_EXTMOD="$TMP/\$1" \\
			DEBUG_FILE="$TMP/\$1.out/\$name.err" LINUXINCLUDE="-I$SRC/include" timeout -k 5 $limit \\
			"$SRC/scripts/coccicheck" >"$TMP/\$1.out/\$name.all" 2>&1 || rc=\$?
		grep "^$TMP/" "$TMP/\$1.out/\$name.all" | sed "s,$TMP/\$1/,," >"$TMP/\$1.out/\$name"
		echo "\$rc" >"$TMP/\$1.out/\$name.rc"
	X
	chmod +x "$TMP/one_rule"
	find "$SRC/scripts/coccinelle" -name '*.cocci' -print0 |
		xargs -0 grep -lZE 'virtual[[:space:]]+report' | sort -z >"$TMP/rules"
	xargs -0 -r -n 1 -P "$JOBS" "$TMP/one_rule" tip <"$TMP/rules"
	grep -q '^probe\.c:' "$TMP/tip.out/array_size.cocci" || { echo "no rule sees sizeof(a) / sizeof(a[0])"; rc=1; }
	n=$(tr -cd '\0' <"$TMP/rules" | wc -c)
	while IFS= read -r -d '' rule; do
		local name=${rule##*/}
		sed -i '/^probe\.c:/d' "$TMP/tip.out/$name"
		if [ ! -s "$TMP/tip.out/$name" ] && grep -qx 0 "$TMP/tip.out/$name.rc"; then continue; fi
		"$TMP/one_rule" base "$rule"
		if ! grep -qx 0 "$TMP/tip.out/$name.rc"; then
			if grep -qx 0 "$TMP/base.out/$name.rc"; then
				echo "$name fails on the tip only: $(tail -n 1 "$TMP/tip.out/$name.err")"
				rc=1
			else
				failed=$((failed + 1))
				echo "note: $name does not run: $(tail -n 1 "$TMP/tip.out/$name.err")"
			fi
		fi
		new_lines "$TMP/base.out/$name" "$TMP/tip.out/$name" | sed "s,^,$name: ," || rc=1
	done <"$TMP/rules"
	[ "$failed" = 0 ] || echo "note: $failed of $n rules do not run"
	return $rc
}
