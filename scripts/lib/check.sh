# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Functions that the checks share. Each file in scripts/checks sources this after lab.sh,
# and so do the commands that run the checks.
#
# A check is a script. The runner (commands/check) reads these lines of its header:
#   Needs:    nothing; source (fetch); stack (fetch and apply); kernels (also boot)
#   Bases:    all; mainline; older (all except mainline)
#   In:       check, lint: the commands that run it when no check is named; any: "lint" of any series
#   Once:     its inputs, if it need not be repeated while they stay the same; see once_key
#   Seconds:  its run time on two cores without KVM, with an empty cache
#   Less:     its run time if it does less, which CHECK_LESS=1 asks for
#   Output:   "shown" if its output is printed while it runs
#   Packages: Debian packages; Uses: commands whose packages it needs
#   Packages-12: packages that only Debian 12 has; the check skips if they are missing
#   Services: services that these packages start and the lab does not use
# Its exit status is 0 if it passed; 4 if it was skipped, and the last line says why;
# anything else if it failed. Lines that begin with "note: " are printed even if it passed.

CHECKS=$TOP/scripts/checks

# choose_checks [NAME...]: prints the checks to run, in order: those that "check" runs on
# this base, or the NAMES; "lint" is all checks of lint. They are sorted by what they
# need, then by run time.
# shellcheck disable=SC2120 # commands/check passes names
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
			*) die "$f needs a line '# Bases: all', 'mainline' or 'older'" ;;
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

# seconds_of BASE [CHECK...]: prints the sum of "Seconds:" of these checks, or of all of that
# base.
seconds_of() {
	local BASE=$1 c names=("${@:2}")
	# shellcheck disable=SC2119 # all of them
	[ $# -gt 1 ] || mapfile -t names < <(choose_checks)
	for c in "${names[@]}"; do header "$CHECKS/$c" Seconds; done | awk '{ n += $1 } END { print n }'
}

# needs_rank FILE: prints how much the check needs, as a number.
needs_rank() {
	case $(header "$1" Needs) in
	nothing) echo 0 ;;
	source) echo 1 ;;
	stack) echo 2 ;;
	kernels) echo 3 ;;
	*) die "$1 needs a line '# Needs: nothing', 'source', 'stack' or 'kernels'" ;;
	esac
}

# The run time so far of the checks that take a minute or more, and the sum of the Seconds in
# their headers.
spent=0 declared=0
left_out=()

# has_time SECONDS: succeeds if what takes that long ends within the time limit. SECONDS is the
# value in a header; it is scaled to the speed of this machine.
has_time() {
	local need=$1
	[ -n "${CHECK_END:-}" ] || return 0
	[ "$declared" = 0 ] || need=$((need * spent / declared))
	[ $(($(date +%s) + need)) -le "$CHECK_END" ]
}

# no_time SECONDS WHAT COMMAND: skips WHAT if there is no time for it.
no_time() {
	! has_time "$1" || return 1
	skip "$2" "no time left"
	left_out+=("$2: $3")
}

# once_key FILE: prints a name made from the inputs of that check. They are in its line
# "# Once: ...":
#   source  the base
#   stack   the base, the patches and the tip
#   series  patches, topics and letters
#   lab     all scripts
#   DIR     a folder of this repository
# The check itself, the library, the configs and the packages of this machine are always
# inputs. Prints nothing for a check without that line, with FRESH=1, with settings that change
# what is checked, and if there is no tree yet.
once_key() {
	local words w
	words=$(header "$1" Once)
	if [ -z "$words" ] || [ -n "${FRESH:-}${KERNEL:-}${EXTRA_CONFIG:-}${LINT_TOPIC:-}" ]; then return 0; fi
	if [[ " $words " == *" source "* || " $words " == *" stack "* ]]; then
		git -C "$SRC" rev-parse -q --verify "$STACK_REF" >/dev/null 2>&1 || return 0
	fi
	echo "${1##*/}-$(
		{
			echo "$BASE ${ACCEL:-} ${SMP:-2} ${MEM:-2G} ${CPU:-} ${KARGS:-} ${QEMU:-} ${BOOT_TIMEOUT:-}"
			echo "${BENCH_JOBS:-} ${BENCH_LEVELS:-} ${CHECK_LESS:-}"
			dpkg-query -W 2>/dev/null
			hash_files "${1#"$TOP/"}" scripts/lib configs
			for w in $words; do
				case $w in
				source) git -C "$SRC" rev-parse "$BASE_REF^{tree}" ;;
				# The patches too: the tree may not have been updated to them yet.
				stack)
					git -C "$SRC" rev-parse "$BASE_REF^{tree}" "$STACK_REF^{tree}"
					series | in_patches | xargs -d '\n' sha256sum
					;;
				series) hash_files series patches topics COVER_LETTER.md ;;
				lab) hash_files scripts ;;
				*) hash_files "$w" ;;
				esac
			done
		} | sha
	)"
}

# hash_files PATH...: prints the hashes of all files there.
hash_files() {
	(cd "$TOP" && find "$@" -type f ! -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum)
}

# scripts_of INTERPRETER: prints the scripts of this repository in that language, a pattern.
scripts_of() {
	# grep fails for folders, and the caller may end with it.
	(cd "$TOP" && grep -lsE "^#!.*[/ ]$1\$" scripts/* scripts/*/* scripts/tests/*/* scripts/tests/*/*/* bench/* bench/*/* .ci/run) || true
}

# own_files: prints all files of this repository. On other bases than mainline it prints
# none, because only their patches are checked.
own_files() {
	[ "$BASE" = mainline ] || return 0
	# safe.directory: the clone may belong to another user; this only reads file names.
	git -C "$TOP" -c safe.directory="$TOP" ls-files -co --exclude-standard | while read -r f; do
		[ ! -f "$TOP/$f" ] || echo "$f"
	done
}

# patch_files: prints the patches that are sent; with LINT_TOPIC, those of that topic.
patch_files() {
	series ${LINT_TOPIC:+"$LINT_TOPIC"} | sed "s,^,${PATCHES#"$TOP/"}/,"
}

# covers: prints the letters: that of the whole stack, and those of the topics.
covers() {
	local topic
	[ -z "${LAB_SERIES:-}" ] || return 0
	[ -n "${LINT_TOPIC:-}" ] || echo "${COVER#"$TOP/"}"
	for topic in ${LINT_TOPIC:-$(topics)}; do echo "topics/$topic.md"; done
}

# first_of FILE...: prints the first FILE in the tree; files move between releases.
first_of() {
	local f
	for f; do
		if [ -e "$SRC/$f" ]; then echo "$SRC/$f"; return 0; fi
	done
	die "$BASE has none of: $*"
}

# new_lines BEFORE AFTER: prints the lines that AFTER has more often than BEFORE, ignoring line
# numbers. Returns 1 if there are any.
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

# cannot_check WHY: fails, because our own series has to be checked; of another one ("lint SERIES"),
# skips the check.
cannot_check() {
	[ -n "${LAB_SERIES:-}" ] || die "$1"
	echo "$1"
	exit 4
}

# lint_make NAME REF ARG...: runs make with the lean config, in a folder that is kept.
lint_make() {
	local log=$LOGS/lint-$1.log ref=$2
	shift 2
	at "$ref"
	configure "$OBJ/lint" lean
	kernel_make "$OBJ/lint" "$@" >"$log" 2>&1 ||
		die "${log##*/lint-} does not compile: $(first_error "$log"); see $log"
}

# as_sender: configures git and b4 for a sender of mails, SENDER.
as_sender() {
	SENDER=sender@example.org
	export GIT_CONFIG_GLOBAL=$TMP/gitconfig
	printf '[b4]\n\tsend-no-patatt-sign = yes\n' >"$GIT_CONFIG_GLOBAL"
	# A clone may have a user.* of its own, which the environment overrides.
	export GIT_CONFIG_COUNT=2 GIT_CONFIG_KEY_0=user.name GIT_CONFIG_VALUE_0='A. Sender' \
		GIT_CONFIG_KEY_1=user.email GIT_CONFIG_VALUE_1=$SENDER
	unset GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL
}

# start_check: each check begins with this. Changes to the folder of the repository.
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
