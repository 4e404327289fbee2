# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Messages, the lock, temporary files, child processes.

die() {
	printf '%s: %s\n' "$ME" "$*" >&2
	exit 1
}

# last_line LOG: prints what a program said at the end.
last_line() {
	local line
	line=$(tail -n 1 "$1" 2>/dev/null) || true
	echo "${line:-no message (is the disk full?)}"
}

say() {
	printf '%s\n' "$*"
}

sha() {
	sha256sum | cut -c1-16
}

# lab_lock: allows one run at a time in a LAB_DIR; a second run waits. Commands that the
# holder starts do not wait. Runs share the lock of the cache; "clean --cache" needs it
# alone, and refuses instead of waiting.
lab_lock() {
	[ -z "${LAB_LOCKED:-}" ] || return 0
	open_locks
	if ! flock -n 9; then
		say "another run is using $LAB_DIR, waiting for it to end"
		flock 9
	fi
	if ! flock -n -s 7; then
		say "'clean --cache' is removing $CACHE, waiting for it to end"
		flock -s 7
	fi
	export LAB_LOCKED=$$
}

# open_locks: opens the locks: that of LAB_DIR as file 9, that of the cache as file 7.
open_locks() {
	touch "$LAB_DIR/.lock" 2>/dev/null ||
		die "cannot write to $LAB_DIR: set LAB_DIR to a folder you can write to"
	touch "$CACHE/.lock" 2>/dev/null ||
		die "cannot write to $CACHE: set XDG_CACHE_HOME to a folder you can write to"
	exec 9>"$LAB_DIR/.lock" 7>"$CACHE/.lock"
}

# need_space GIB: exits with an error if the disk has less space, before the work starts.
need_space() {
	local free
	free=$(df -k --output=avail "$LAB_DIR" | awk 'NR == 2 { print int($1 / 1048576) }')
	[ "$free" -ge "$1" ] ||
		die "$LAB_DIR has $free GiB free, but $1 GiB are needed: free some space ('scripts/lab clean') or set LAB_DIR"
}

# Removes temporary files and ends the running child when the script ends in any way.
CHILD=
TMP=
CACHE_NEW=
cleanup() {
	local rc=$? n
	trap '' INT TERM HUP
	if [ -n "$CHILD" ]; then
		kill -TERM -- "-$CHILD" 2>/dev/null || true
		wait "$CHILD" 2>/dev/null || true
		# The child can end before others of its group do, as xargs does. At most 10 s.
		for ((n = 0; n < 100; n++)); do
			kill -0 -- "-$CHILD" 2>/dev/null || break
			sleep 0.1
		done
	fi
	# Remove only what lab_tmp and cache_put have created.
	case $TMP in "$LAB_DIR"/tmp/?*) rm -rf "$TMP" ;; esac
	case $CACHE_NEW in ?*/.new.?*) rm -rf "$CACHE_NEW" ;; esac
	if declare -F at_exit >/dev/null; then at_exit; fi
	exit "$rc"
}
trap cleanup EXIT
trap 'echo "$ME: interrupted" >&2; exit 130' INT
trap terminated TERM HUP

# terminated: ends the script. Those that another one started and ends say nothing.
terminated() {
	[ "${LAB_LOCKED:-$$}" != $$ ] || echo "$ME: terminated" >&2 || true
	exit 143
}

lab_tmp() {
	[ -z "$TMP" ] || return 0
	if ! TMP=$(mktemp -d "$LAB_DIR/tmp/$ME.XXXXXX" 2>/dev/null) ||
		! head -c 1M /dev/zero 2>/dev/null >"$TMP/room"; then
		die "cannot write to $LAB_DIR/tmp: is the disk full?"
	fi
	rm "$TMP/room"
}

# run CMD...: runs it in its own process group, so that the whole group can be killed. It
# runs in the background because "wait" returns on a signal at once.
run() {
	local rc=0
	set -m
	"$@" 9>&- 7>&- &
	CHILD=$!
	set +m
	wait "$CHILD" || rc=$?
	CHILD=
	return "$rc"
}

# progress LABEL LOG CMD...: like run, but writes the output to LOG, and prints the seconds
# so far and, for a kernel build, the number of objects; for boots, COUNTED is the word for them.
progress() {
	local label=$1 log=$2 start=$SECONDS rc=0 n last=0 status nap=0.1 pipe
	shift 2
	# A sleep that a signal ends would have bash print "Terminated"; a read does not.
	exec {pipe}<> <(:)
	set -m
	"$@" >"$log" 2>&1 9>&- 7>&- &
	CHILD=$!
	set +m
	while kill -0 "$CHILD" 2>/dev/null; do
		read -rt "$nap" -u "$pipe" || true
		[ $((SECONDS - start)) -lt 2 ] || nap=1
		# No $(): when a signal comes as bash 5.2 begins one, bash reads the trap as a part
		# of it, and ends with a syntax error, or never.
		grep -cE '^ +(CC|AS|LD|AR|HOSTCC|UPD|BOOT) ' "$log" >&"$pipe" || true
		read -rt 1 -u "$pipe" n || n=0
		status="$label: $((SECONDS - start)) s"
		[ "$n" = 0 ] || status+=", $n ${COUNTED:-objects}"
		if [ -t 1 ]; then
			printf '\r%s ' "$status"
		elif [ $((SECONDS - start)) -ge $((last + 10)) ]; then
			say "  $status"
			last=$((SECONDS - start))
		fi
	done
	wait "$CHILD" || rc=$?
	CHILD=
	exec {pipe}<&-
	if [ -t 1 ]; then printf '\r\033[K'; fi
	if [ "$rc" = 0 ]; then say "  $label: $((SECONDS - start)) s, done"; fi
	return "$rc"
}
