# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Messages, the lock, temporary files, child processes.

die() {
	printf '%s: %s\n' "$ME" "$*" >&2
	exit 1
}

say() {
	printf '%s\n' "$*"
}

sha() {
	sha256sum | cut -c1-16
}

# lab_lock: one run at a time in a LAB_DIR, the second waits. Commands that the
# holder starts go through. The cache is shared: "clean --cache" waits for nobody,
# and refuses while somebody uses it.
lab_lock() {
	[ -z "${LAB_LOCKED:-}" ] || return 0
	exec 9>"$LAB_DIR/.lock"
	if ! flock -n 9; then
		say "another run is at work in $LAB_DIR, waiting for it to end"
		flock 9
	fi
	exec 7>"$CACHE/.lock"
	flock -s 7
	export LAB_LOCKED=$$
}

# need_space GIB: finds a full disk before the work, not in the middle.
need_space() {
	local free
	free=$(df -Pk "$LAB_DIR" | awk 'NR == 2 { print int($4 / 1048576) }')
	[ "$free" -ge "$1" ] ||
		die "$LAB_DIR has $free GiB free, $1 GiB are needed: free some ('scripts/lab clean') or set LAB_DIR"
}

# Temporary files and the running child go when the script ends, in any way.
CHILD=
TMP=
CACHE_NEW=
cleanup() {
	local rc=$?
	trap '' INT TERM HUP
	if [ -n "$CHILD" ]; then
		kill -TERM -- "-$CHILD" 2>/dev/null || true
		wait "$CHILD" 2>/dev/null || true
	fi
	# Remove only what lab_tmp and cache_put made.
	case $TMP in "$LAB_DIR"/tmp/?*) rm -rf "$TMP" ;; esac
	case $CACHE_NEW in ?*/.new.?*) rm -rf "$CACHE_NEW" ;; esac
	if declare -F at_exit >/dev/null; then at_exit; fi
	exit "$rc"
}
trap cleanup EXIT
trap 'echo "$ME: interrupted" >&2; exit 130' INT
trap 'exit 143' TERM HUP

lab_tmp() {
	[ -z "$TMP" ] || return 0
	TMP=$(mktemp -d "$LAB_DIR/tmp/$ME.XXXXXX") ||
		die "cannot write to $LAB_DIR/tmp: is the disk full?"
}

# run CMD...: runs it in a process group of its own, so that all of it can be ended.
# "wait" returns at a signal, which a foreground child would hold back.
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

# progress LABEL LOG CMD...: as run, with the output in LOG, and on the terminal the
# seconds so far, and the objects made if it is a kernel build.
progress() {
	local label=$1 log=$2 start=$SECONDS rc=0 n last=0 status
	shift 2
	set -m
	"$@" >"$log" 2>&1 9>&- 7>&- &
	CHILD=$!
	set +m
	while kill -0 "$CHILD" 2>/dev/null; do
		sleep 1
		n=$(grep -cE '^ +(CC|AS|LD|AR|HOSTCC|UPD) ' "$log" || true)
		status="$label: $((SECONDS - start)) s"
		[ "$n" = 0 ] || status+=", $n objects"
		if [ -t 1 ]; then
			printf '\r%s ' "$status"
		elif [ $((SECONDS - start)) -ge $((last + 10)) ]; then
			say "  $status"
			last=$((SECONDS - start))
		fi
	done
	wait "$CHILD" || rc=$?
	CHILD=
	if [ -t 1 ]; then printf '\r\033[K'; fi
	if [ "$rc" = 0 ]; then say "  $label: $((SECONDS - start)) s, done"; fi
	return "$rc"
}
