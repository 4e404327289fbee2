# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the checks share; each file in scripts/checks sources this after lab.sh, and so
# do the commands that run them.
#
# A check is a script. The runner (commands/check) reads from its header:
#   Needs:    nothing; source (fetch); stack (fetch and apply); kernels (boot, too)
#   Bases:    all; mainline; older (all but mainline)
#   In:       check, lint: the commands that run it without being asked by name
#   Once:     its inputs, where a run with the same ones need not be repeated; see once_key
#   Seconds:  what it takes on two cores without KVM, with nothing cached
#   Output:   "shown" where it says how far it is
#   Packages: Debian packages; Uses: commands whose packages it needs
# Its exit status is 0 if it passed; 4 if it was skipped, and the last line says why; any
# other if it failed. Lines that begin with "note: " are shown when it passed, too.

CHECKS=$TOP/scripts/checks

# choose_checks [NAME...]: the checks to run, in order: those that "check" runs on this
# base, or the NAMES; "lint" is all checks of that command. Those that need less come
# first, and of these the cheap ones.
# shellcheck disable=SC2120 # commands/check gives names
choose_checks() {
	local f name in
	for name; do
		[ "$name" = lint ] || [ -x "$CHECKS/$name" ] ||
			die "no check '$name'; there are: lint $(cd "$CHECKS" && echo *)"
	done
	for f in "$CHECKS"/*; do
		in=" $(header "$f" In) "
		if [[ " $* " != *" ${f##*/} "* ]]; then
			case $(header "$f" Bases)/$BASE in
			all/* | mainline/mainline) ;;
			older/mainline | mainline/*) continue ;;
			older/*) ;;
			*) die "$f has no line '# Bases: all', 'mainline' or 'older'" ;;
			esac
			if [ $# = 0 ]; then
				[[ $in == *' check '* ]] || continue
			else
				[[ " $* " == *' lint '* && $in == *' lint '* ]] || continue
			fi
		fi
		echo "$(needs_rank "$f") $(header "$f" Seconds) ${f##*/}"
	done | sort -n -k1,1 -k2,2 | cut -d' ' -f3
}

# seconds_of BASE: of all its checks, as their headers say.
seconds_of() {
	local BASE=$1 c
	# shellcheck disable=SC2119 # all of them
	for c in $(choose_checks); do header "$CHECKS/$c" Seconds; done | awk '{ n += $1 } END { print n }'
}

# needs_rank FILE: how much the check needs, as a number.
needs_rank() {
	case $(header "$1" Needs) in
	nothing) echo 0 ;;
	source) echo 1 ;;
	stack) echo 2 ;;
	kernels) echo 3 ;;
	*) die "$1 has no line '# Needs: nothing', 'source', 'stack' or 'kernels'" ;;
	esac
}

# Seconds that the checks of a minute and more took so far, and what their headers say.
spent=0 declared=0
left_out=()

# no_time SECONDS WHAT COMMAND: skips a check or a base that would take the run over its
# limit. SECONDS are as in a header; this machine may need more or less.
no_time() {
	local need=$1
	[ -n "${CHECK_END:-}" ] || return 1
	[ "$declared" = 0 ] || need=$((need * spent / declared))
	[ $(($(date +%s) + need)) -gt "$CHECK_END" ] || return 1
	skip "$2" "there is no time left"
	left_out+=("$2: $3")
}

# once_key FILE: a name for the inputs of that check, from its line "# Once: ...":
#   source  the base
#   stack   the base and the tip
#   series  patches and letters
#   lab     all scripts
#   DIR     a folder of this repository
# The check itself, the library, the configs and the packages of this machine are always
# part of it. Prints nothing for a check without that line, with FRESH=1, and where a
# setting asks for something else than usual.
once_key() {
	local words w
	words=$(header "$1" Once)
	if [ -z "$words" ] || [ -n "${FRESH:-}${KERNEL:-}${EXTRA_CONFIG:-}${LINT_SERIES:-}" ]; then return 0; fi
	echo "${1##*/}-$(
		{
			echo "$BASE ${ACCEL:-} ${SMP:-} ${MEM:-} ${CPU:-} ${KARGS:-}"
			dpkg-query -W 2>/dev/null
			hash_files "${1#"$TOP/"}" scripts/lib configs
			for w in $words; do
				case $w in
				source) git -C "$SRC" rev-parse "$BASE_REF^{tree}" ;;
				stack) git -C "$SRC" rev-parse "$BASE_REF^{tree}" "$STACK_REF^{tree}" ;;
				series) hash_files series patches COVER_LETTER.md COVER_LETTER.tests.md ;;
				lab) hash_files scripts ;;
				*) hash_files "$w" ;;
				esac
			done
		} | sha
	)"
}

# hash_files PATH...: the hashes of all files there.
hash_files() {
	(cd "$TOP" && find "$@" -type f ! -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum)
}

# scripts_of INTERPRETER: the scripts of this repository in that language.
scripts_of() {
	cd "$TOP" && grep -lsE "^#!.*$1" scripts/* scripts/*/* .ci/run
}

# own_files: all files of this repository; on another base than mainline, where
# only its patches are looked at, none.
own_files() {
	[ "$BASE" = mainline ] || return 0
	# Whoever owns the clone: only names are read.
	git -C "$TOP" -c safe.directory="$TOP" ls-files -co --exclude-standard | while read -r f; do
		[ ! -f "$TOP/$f" ] || echo "$f"
	done
}

# patch_files: what is sent, or, with LINT_SERIES, that series of mails' part of it.
patch_files() {
	series "${LINT_SERIES:-}" | sed "s,^,${PATCHES#"$TOP/"}/,"
}

# covers: the letters.
covers() {
	local which
	for which in ${LINT_SERIES:-mm tests}; do
		[ -z "$(series "$which")" ] || (mail_series "$which" && echo "${COVER#"$TOP/"}")
	done
}

# touched PATTERN: the files that the stack changes, whose name matches.
touched() {
	git -C "$SRC" diff --name-only --diff-filter=d --no-renames "$BASE_REF" "$STACK_REF" | grep -E "$1" || true
}

touched_sources() {
	touched '\.c$' | grep -v '^tools/' || true
}

# write_touched REF DIR PATTERN: that version of the touched files, below DIR.
write_touched() {
	local f
	mkdir -p "$2"
	touched "$3" | while read -r f; do
		git -C "$SRC" cat-file -e "$1:$f" 2>/dev/null || continue
		mkdir -p "$2/$(dirname "$f")"
		git -C "$SRC" cat-file blob "$1:$f" >"$2/$f"
	done
}

# at REF: checks it out where the lab builds.
at() {
	lab_git -C "$SRC" checkout -q -f --detach "$1"
}

# first_of FILE...: the first that the tree has: things move between releases.
first_of() {
	local f
	for f; do
		if [ -e "$SRC/$f" ]; then echo "$SRC/$f"; return 0; fi
	done
	die "$BASE has none of: $*"
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

# lint_make NAME REF ARG...: make with the lean config, in a folder that is kept.
lint_make() {
	local log=$LOGS/lint-$1.log ref=$2
	shift 2
	at "$ref"
	configure "$OBJ/lint" lean
	kernel_make "$OBJ/lint" "$@" >"$log" 2>&1 ||
		die "${log##*/lint-} does not compile: $(first_error "$log"); see $log"
}

# as_sender: git and b4 are those of somebody who sends, SENDER.
as_sender() {
	SENDER=sender@example.org
	export GIT_CONFIG_GLOBAL=$TMP/gitconfig
	printf '[user]\n\tname = A. Sender\n\temail = %s\n[b4]\n\tsend-no-patatt-sign = yes\n' "$SENDER" \
		>"$GIT_CONFIG_GLOBAL"
	unset GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL
}

# start_check: what each check begins with. The folder is that of the repository.
start_check() {
	lab_base
	lab_lock
	lab_tmp
	cd "$TOP" || exit 1
	case $(header "$CHECKS/$ME" Needs) in
	source) need_source ;;
	stack | kernels) need_stack ;;
	esac
}
