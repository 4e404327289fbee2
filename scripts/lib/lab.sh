# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Common parts of the lab's scripts; sourced by each of them, runs nothing on
# its own. Gives: paths of the chosen BASE, messages, the lock, temporary
# files that never stay, children that die with the script.
#
# Environment: LAB_DIR (everything generated), XDG_CACHE_HOME (what all clones
# share), BASE (see configs/*.base), KERNEL (a git tree of one's own), JOBS,
# CCACHE_DIR.

# shellcheck disable=SC2034 # many of these are for those who source this

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
LAB_DIR=${LAB_DIR:-$TOP/build}
BASE=${BASE:-mainline}
JOBS=${JOBS:-$(nproc)}
ME=${0##*/}

# Nobody is asked anything; and with fd 0 closed the next open() would be it.
if [ ! -e /proc/self/fd/0 ]; then exec </dev/null; fi

shopt -s inherit_errexit
export LC_ALL=C
umask 022

die() {
	printf '%s: %s\n' "$ME" "$*" >&2
	exit 1
}

say() {
	printf '%s\n' "$*"
}

# The header comment of the script, from its second paragraph on.
usage() {
	awk 'NR > 2 && !/^#/ { exit } NR > 3 { sub(/^# ?/, ""); print }' "$0"
}

case ${1:-} in
-h | --help)
	usage
	exit 0
	;;
esac

# shellcheck source=configs/mainline.base
lab_base() {
	[ -r "$TOP/configs/$BASE.base" ] ||
		die "no base '$BASE': there is no configs/$BASE.base"
	# What most bases do not say.
	CONFIG_WITHOUT='' CONFIG_MORE='' DEB_TARBALL=''
	. "$TOP/configs/$BASE.base"
	. "$TOP/configs/identity"

	if [ "$BASE" = mainline ]; then
		PATCHES=$TOP/patches SERIES=$TOP/series COVER=$TOP/COVER_LETTER.md
	else
		PATCHES=$TOP/patches/$BASE SERIES=$TOP/patches/$BASE/series
		COVER=$PATCHES/COVER_LETTER.md
	fi
	EXPECTED=$TOP/patches/expected

	# A tree of the user's own is kept apart from the lab's.
	KEY=$BASE${KERNEL:+-user}
	TREE=$LAB_DIR/tree/$BASE	# where the stack is worked on, branch "stack"
	SRC=$LAB_DIR/src/$KEY		# where the lab builds; nobody edits here
	OBJ=$LAB_DIR/obj/$KEY
	IMAGES=$LAB_DIR/images/$KEY
	SELFTESTS=$LAB_DIR/selftests/current	# one set for all bases
	LOGS=$LAB_DIR/logs/$KEY
	RESULTS=$LAB_DIR/results/$KEY
	# What all clones of a user can share: downloads, and the compiler's cache.
	CACHE=${XDG_CACHE_HOME:-${HOME:-$LAB_DIR}/.cache}/oom-reaper-lab
	DL=$CACHE/dl

	# Per-worktree refs: in a tree of the user's own the lab must not
	# leave a branch or a tag.
	BASE_REF=refs/worktree/base
	STACK_REF=refs/worktree/stack

	mkdir -p "$LAB_DIR" 2>/dev/null ||
		die "cannot make $LAB_DIR: set LAB_DIR to a folder you can write to"
	LAB_DIR=$(cd "$LAB_DIR" && pwd)
	export LAB_DIR
	mkdir -p "$IMAGES" "$LOGS" "$RESULTS" "$LAB_DIR/tmp"
	mkdir -p "$DL" 2>/dev/null ||
		die "cannot make $DL: set XDG_CACHE_HOME to a folder you can write to"
	export CCACHE_DIR=${CCACHE_DIR:-$CACHE/ccache}
}

# One run at a time in a LAB_DIR: the second waits. Scripts started by the
# holder go through.
lab_lock() {
	[ -z "${LAB_LOCKED:-}" ] || return 0
	exec 9>"$LAB_DIR/.lock"
	if ! flock -n 9; then
		say "another run is at work in $LAB_DIR, waiting for it to end"
		flock 9
	fi
	export LAB_LOCKED=$$
}

# need_space GIB: a full disk is found before, not in the middle.
need_space() {
	local free
	free=$(df -Pk "$LAB_DIR" | awk 'NR == 2 { print int($4 / 1048576) }')
	[ "$free" -ge "$1" ] ||
		die "$LAB_DIR has $free GiB free, $1 GiB are needed: free some or set LAB_DIR"
}

# Temporary files and the running child go when the script goes, however.
CHILD=
TMP=
cleanup() {
	local rc=$?
	trap '' INT TERM HUP
	if [ -n "$CHILD" ]; then
		kill -TERM -- "-$CHILD" 2>/dev/null || true
		wait "$CHILD" 2>/dev/null || true
	fi
	# Only what lab_tmp made, whatever somebody who sourced this has put there.
	case $TMP in "$LAB_DIR"/tmp/?*) rm -rf "$TMP" ;; esac
	if declare -F at_exit >/dev/null; then at_exit; fi
	exit "$rc"
}
trap cleanup EXIT
trap 'echo "$ME: interrupted" >&2; exit 130' INT
trap 'exit 143' TERM HUP

lab_tmp() {
	TMP=$(mktemp -d "$LAB_DIR/tmp/$ME.XXXXXX") ||
		die "cannot write to $LAB_DIR/tmp: is the disk full?"
}

# run CMD...: in a process group of its own, so that all of it can be ended.
# "wait" returns at a signal, which a foreground child would hold back.
run() {
	local rc=0
	set -m
	"$@" 9>&- &
	CHILD=$!
	set +m
	wait "$CHILD" || rc=$?
	CHILD=
	return "$rc"
}

# progress LABEL LOG CMD...: as run, output to LOG, and on the terminal what
# it is at: seconds, and objects made in case of a kernel build.
progress() {
	local label=$1 log=$2 start=$SECONDS rc=0 n last=0 status
	shift 2
	set -m
	"$@" >"$log" 2>&1 9>&- &
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

# guest LIMIT KERNEL INITRD DIR APPEND [QEMU ARG...]: a guest, for LIMIT seconds
# at most; its console, ttyS1 and ttyS2 go to console.log, ktap.log and
# dmesg.log.gz in DIR. The console takes errors only, or an OOM kill's report
# would hold up the CPU that is being timed; the rest stays in a buffer large
# enough for it. Returns 0, or 124 or 137 at the limit.
guest() {
	local limit=$1 kernel=$2 initrd=$3 dir=$4 append=$5 rc=0
	shift 5
	mkdir -p "$dir"
	run timeout -k 5 "$limit" "${QEMU:-qemu-system-x86_64}" "$@" \
		-nodefaults -display none -no-reboot \
		-serial "file:$dir/console.log" -serial "file:$dir/ktap.log" \
		-serial "file:$dir/dmesg.log.gz" -kernel "$kernel" -initrd "$initrd" \
		-append "console=ttyS0 loglevel=4 log_buf_len=16M panic=-1 $append" \
		>"$dir/qemu.log" 2>&1 </dev/null || rc=$?
	if [ "$rc" != 0 ] && [ "$rc" != 124 ] && [ "$rc" != 137 ] && [ ! -s "$dir/console.log" ]; then
		die "QEMU did not run: $(tail -n 1 "$dir/qemu.log")"
	fi
	return "$rc"
}

# git as the lab uses it: no hook, signature or line-end setting of the user's.
lab_git() {
	git -c core.autocrlf=false -c core.hooksPath=/dev/null -c gc.auto=0 \
		-c commit.gpgSign=false -c core.fsmonitor=false \
		-c maintenance.auto=false -c advice.detachedHead=false "$@"
}

# bases: the names of all bases, mainline first, then the newest first.
bases() {
	echo mainline
	(cd "$TOP/configs" && printf '%s\n' *.base) | sed -e 's/\.base$//' -e '/^mainline$/d' | sort -rV
}

# kernel_make OBJ ARG...: make in the build tree, into OBJ. Fixed stamps and
# relative paths: the same source gives the same image, and the compiler cache
# serves it in any folder.
kernel_make() {
	local obj=$1 cc=gcc
	shift
	if command -v ccache >/dev/null; then cc='ccache gcc'; fi
	KBUILD_BUILD_TIMESTAMP='2026-01-01' KBUILD_BUILD_USER=lab KBUILD_BUILD_HOST=lab \
		KBUILD_BUILD_VERSION=1 CCACHE_BASEDIR=$LAB_DIR CCACHE_NOHASHDIR=1 \
		make -C "$SRC" O="$obj" CC="$cc" HOSTCC="$cc" LOCALVERSION= -j"$JOBS" "$@"
}

# first_error LOG: what a failed make said, in one line.
first_error() {
	grep -m1 -E '(^|[^A-Za-z])[Ee]rror[: ]' "$1" || tail -n 1 "$1"
}

# no_warnings LABEL LOG FILE...: dies at the first warning in one of the FILEs.
no_warnings() {
	local label=$1 log=$2 f w
	shift 2
	for f in "$@"; do
		w=$(grep -m1 -E "(^|/)${f//./\\.}:[0-9].*warning:" "$log") || continue
		die "$label: a warning in a file that the stack touches: $w; see $log"
	done
}

# of_series [WHICH]: of a series file on stdin, the patches in order: all, or those of
# the mails' series WHICH. A comment "# mm", "# tests" or "# both" says to which the
# patches after it belong, until the next one; without any, all are "mm".
of_series() {
	awk -v which="${1:-}" '/^# (mm|tests|both)$/ { group = $2 }
		{ sub(/[ \t]*#.*/, "") }
		NF && (which == "" || group == which || group == "both" || (group == "" && which == "mm"))'
}

# The same of this base's series.
series() {
	[ -r "$SERIES" ] || die "no $SERIES: write the stack with 'scripts/lab export'"
	of_series "${1:-}" <"$SERIES"
}

# recommit REPO COMMIT TREE PARENT: the same commit with another tree and parent.
recommit() {
	git -C "$1" cat-file commit "$2" | sed -e "1s/.*/tree $3/" -e "2s/.*/parent $4/" |
		git -C "$1" hash-object -t commit -w --stdin
}

# pick_series WHICH: the commits of that series of mails, on the base without the
# other's patches.
pick_series() {
	local levels name commit parent
	levels=$(levels)
	parent=$(git -C "$SRC" rev-parse "$BASE_REF")
	local -x GIT_INDEX_FILE=$TMP/index
	while read -r name commit; do
		lab_git -C "$SRC" read-tree "$parent"
		lab_git -C "$SRC" apply --cached "$PATCHES/$name.patch" 2>"$TMP/apply" ||
			die "$name does not apply without the patches that are not of series '$1': $(head -n 1 "$TMP/apply")"
		parent=$(recommit "$SRC" "$commit" "$(lab_git -C "$SRC" write-tree)" "$parent")
		echo "$parent"
	done < <(grep -F -f <(series "$1" | sed 's/\.patch$/ /') <<<"$levels")
}

# levels: "NAME COMMIT" a line: the base, then the tree after each patch.
levels() {
	local commits names i
	git -C "$SRC" rev-parse -q --verify "$STACK_REF" >/dev/null 2>&1 ||
		die "the series is not applied yet: run scripts/lab apply"
	mapfile -t commits < <(lab_git -C "$SRC" rev-list --reverse "$BASE_REF..$STACK_REF")
	mapfile -t names < <(series)
	[ "${#commits[@]}" = "${#names[@]}" ] ||
		die "the series has ${#names[@]} patches and the tree ${#commits[@]}: run scripts/apply"
	echo "base $(lab_git -C "$SRC" rev-parse "$BASE_REF")"
	for i in "${!names[@]}"; do
		echo "${names[i]%.patch} ${commits[i]}"
	done
}

# mail_series [ARG...]: of which series of mails a command is, by its first argument:
# "mm", also without one, or "tests". Sets WHICH, MAIL_ID (of its tags and folders)
# and COVER.
mail_series() {
	WHICH=mm MAIL_ID=$BASE
	if [ "${1:-}" = tests ]; then
		WHICH=tests MAIL_ID=tests COVER=${COVER%.md}.tests.md
	fi
	[ -n "$(series "$WHICH")" ] || die "the series of $BASE has no group '$WHICH'"
}

# drop_worktree: the one in a user's tree goes when the run ends.
drop_worktree() {
	lab_git -C "$KERNEL" worktree remove --force "$SRC" 2>/dev/null || true
	git -C "$KERNEL" worktree prune || true
	rm -f "$SRC.applied"
}

# find_level NAME LEVELS: the line of LEVELS that NAME means: "base", "tip", a
# level's name or the start of one.
find_level() {
	local found
	case $1 in
	tip) found=$(tail -n 1 <<<"$2") ;;
	*) found=$(awk -v n="$1" 'index($1, n) == 1 { print; exit }' <<<"$2") ;;
	esac
	[ -n "$found" ] ||
		die "no level '$1'; there are: tip $(awk '{ printf "%s ", $1 }' <<<"$2")"
	echo "$found"
}

# source_id COMMIT: what of a tree ends up in an image: not the selftests,
# documents and maintainers.
source_id() {
	git -C "$SRC" ls-tree "$1" | grep -vE '	(Documentation|MAINTAINERS|tools)$'
	git -C "$SRC" ls-tree "$1:tools" | grep -v '	testing$'
}

# with_bench_patch COMMIT NAME: puts the first of bench/NAME*.patch that applies
# on the COMMIT's tree, in the index $TMP/index. Returns 1 if none does; why is in
# $TMP/apply.
with_bench_patch() {
	local p
	for p in "$TOP/bench/$2"*.patch; do
		[ -r "$p" ] || die "no bench/$2.patch"
		GIT_INDEX_FILE=$TMP/index lab_git -C "$SRC" read-tree "$1"
		if GIT_INDEX_FILE=$TMP/index lab_git -C "$SRC" apply --cached "$p" 2>"$TMP/apply"; then return 0; fi
	done
	return 1
}

# sparse_repo DIR COMMIT: a new repository that borrows the build tree's objects,
# at COMMIT on its branch "base", with a few of the files in its folder: those by
# which a kernel tree is known for one (get_maintainer.pl, b4), and its scripts.
sparse_repo() {
	local dir=$1 commit
	commit=$(git -C "$SRC" rev-parse "$2")
	rm -rf "$dir"
	mkdir -p "$dir"
	lab_git init -q "$dir"
	git -C "$dir" symbolic-ref HEAD refs/heads/base
	echo "$(git -C "$SRC" rev-parse --path-format=absolute --git-common-dir)/objects" \
		>"$dir/.git/objects/info/alternates"
	git -C "$dir" config core.sparseCheckout true
	printf '%s\n' '/*' '!/*/*/' /include/linux/oom.h >"$dir/.git/info/sparse-checkout"
	lab_git -C "$dir" reset -q --hard "$commit"
}

# boot_cached IMAGE INITRAMFS: scripts/boot, but where kernel, initramfs and QEMU's
# arguments are those of an earlier boot without a problem; FRESH=1 repeats these,
# too. ACCEL must be set. Sets boot_dir, where the result is, and boot_was_cached.
# Returns 0, or what scripts/boot gave if nothing could be run.
boot_cached() {
	local key rc=0
	key=$({ cat "$1" "$2" "$TOP/scripts/boot" "$TOP/scripts/ktap.py"; declare -f guest; echo "$ACCEL ${SMP:-} ${MEM:-} ${KARGS:-} ${CPU:-}"; } | sha)
	boot_dir=$LOGS/boots/$key boot_was_cached=
	if [ -z "${FRESH:-}" ] && grep -qs '"problems": \[\]' "$boot_dir/result.json"; then
		boot_was_cached=1
		say "  boot and tests: cached"
		return
	fi
	rm -rf "$boot_dir"
	progress "boot and tests" "$TMP/boot" "$TOP/scripts/boot" "$1" "$2" "$boot_dir" || rc=$?
	cat "$TMP/boot"
	[ "$rc" != 2 ] || rc=0
	return "$rc"
}

# What guest_root takes from this machine.
GUEST_PROGRAMS=(/bin/busybox /bin/bash /usr/bin/timeout)

# guest_root ROOT FILE: packs ROOT as FILE, the initramfs of a guest, with busybox,
# bash, guest-init and the libraries of all that is in there.
guest_root() {
	local root=$1 file=$2 applet lib
	mkdir -p "$root"/{bin,usr/bin,sbin,dev,proc,sys,tmp,root}
	cp /bin/busybox "$root/bin/busybox"
	for applet in $("$root/bin/busybox" --list); do
		[ -e "$root/bin/$applet" ] || ln -s busybox "$root/bin/$applet"
	done
	# run_vmtests.sh is for bash; the runner wants a timeout with --foreground,
	# which busybox's has not.
	cp /bin/bash "$root/bin/bash"
	cp /usr/bin/timeout "$root/usr/bin/timeout"
	ln -s /bin/env "$root/usr/bin/env"
	install -m 755 "$TOP/scripts/guest-init" "$root/init"

	# "not a dynamic executable" is no error here.
	find "$root" -type f -perm -u+x -exec ldd {} + 2>/dev/null |
		grep -oE '/[^ ]+\.so[^ ]*' | sort -u >"$TMP/libs" || true
	while read -r lib; do
		mkdir -p "$root${lib%/*}"
		cp -L "$lib" "$root$lib"
	done <"$TMP/libs"

	# The same content gives the same file: it is part of a boot's cache key.
	find "$root" -exec touch -h -d @0 {} +
	(cd "$root" && find . | sort | cpio -o -H newc -R 0:0 --reproducible --quiet | gzip -n) >"$file" ||
		die "cannot pack the initramfs: is the disk full?"
}

sha() {
	sha256sum | cut -c1-16
}
