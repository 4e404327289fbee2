# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034 # the variables are for the scripts that source this
#
# The lab's bash library. Each command and each check sources this file. It defines
# functions and variables only, and sources all parts:
#
#   common.sh    messages, the lock, temporary files, child processes
#   settings.sh  validate the environment variables
#   arch.sh      what depends on ARCH
#   cache.sh     the cache that all clones of a user share
#   apt.sh       apt with a set-up of its own
#   tree.sh      the series, the kernel tree, levels
#   build.sh     configure and compile
#   guest.sh     initramfs, QEMU
#   matrix.sh    build and boot levels (boot)
#   runs.sh      keep what they gave
#   mail.sh      the branch that b4 sends
#
# docs/lab.md describes the settings.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
COMMANDS=$TOP/scripts/commands
LIB=$TOP/scripts/lib
LAB_DIR=${LAB_DIR:-$TOP/build}
BASE=${BASE:-mainline}
JOBS=${JOBS:-$(nproc)}
ME=${0##*/}

# If fd 0 is closed, the next open() would use it.
if [ ! -e /proc/self/fd/0 ]; then exec </dev/null; fi

shopt -s inherit_errexit
export LC_ALL=C PYTHONDONTWRITEBYTECODE=1
umask 022

. "$LIB/common.sh"
. "$LIB/settings.sh"
. "$LIB/arch.sh"
. "$LIB/cache.sh"
. "$LIB/apt.sh"
. "$LIB/tree.sh"
. "$LIB/build.sh"
. "$LIB/guest.sh"
. "$LIB/matrix.sh"
. "$LIB/runs.sh"
. "$LIB/mail.sh"

# header FILE NAME: prints the words of the lines "# NAME: ..." in the header of FILE.
header() {
	awk -v name="$2" '!/^#/ { exit }
		index($0, "# " name ": ") == 1 { print substr($0, length(name) + 5) }' "$1" | paste -sd' '
}

# usage: prints the header of the script.
usage() {
	awk 'NR > 2 && !/^#/ { exit } NR > 3 { sub(/^# ?/, ""); print }' "$0"
}

case ${1:-} in
-h | --help)
	usage
	exit 0
	;;
esac

# The topic that choose_topic chose, or nothing for the whole stack.
TOPIC=

# lab_base: sets the paths of BASE, and creates the folders.
lab_base() {
	[ -r "$TOP/configs/$BASE.base" ] ||
		die "no base '$BASE'; there are: $(bases | paste -sd' ')"
	# Most bases do not set these.
	CONFIG=lean CONFIG_WITHOUT='' CONFIG_MORE='' DEB_TARBALL=''
	# shellcheck source=configs/mainline.base
	. "$TOP/configs/$BASE.base"
	. "$TOP/configs/identity"

	if [ "$BASE" = mainline ]; then
		PATCHES=$TOP/patches SERIES=$TOP/series COVER=$TOP/COVER_LETTER.md
	else
		PATCHES=$TOP/patches/$BASE SERIES=$TOP/patches/$BASE/series
		COVER=$PATCHES/COVER_LETTER.md
	fi
	EXPECTED=$TOP/patches/expected

	mkdir -p "$LAB_DIR" 2>/dev/null ||
		die "cannot make $LAB_DIR: set LAB_DIR to a folder you can write to"
	LAB_DIR=$(cd "$LAB_DIR" && pwd)
	export LAB_DIR
	[[ $LAB_DIR != *[[:space:]:,]* ]] ||
		die "'$LAB_DIR' has a space, a colon or a comma in it, which the kernel's make or the lab does not accept: set LAB_DIR to another folder"
	# A tree of the user is kept apart from the lab's tree. LAB_SERIES is the folder of a
	# series that is not this clone's ("try"): all that it needs is below try/, under the
	# same names, because paths are part of what the compiler cache looks for.
	KEY=$BASE${KERNEL:+-user}
	local room=$LAB_DIR
	if [ -n "${LAB_SERIES:-}" ]; then
		KEY=$BASE PATCHES=$LAB_SERIES SERIES=$LAB_SERIES/series room=$LAB_DIR/try
	fi
	TREE=$LAB_DIR/tree/$BASE	# where you edit the series, on branch "stack"
	SRC=$room/src/$KEY		# where the lab builds; do not edit here
	OBJ=$room/obj/$KEY$ARCH_DIR
	IMAGES=$room/images/$KEY$ARCH_DIR	# links into the cache
	INITRAMFS=$LAB_DIR/images/initramfs$ARCH_DIR.gz	# one for all bases
	LOGS=$room/logs/$KEY$ARCH_DIR
	RESULTS=$room/results/$KEY$ARCH_DIR
	mkdir -p "$IMAGES" "$LOGS" "$RESULTS" "$LAB_DIR/tmp" 2>/dev/null ||
		die "cannot write to $LAB_DIR: set LAB_DIR to a folder you can write to"

	CACHE=${XDG_CACHE_HOME:-${HOME:-$LAB_DIR}/.cache}/oom-reaper-lab
	DL=$CACHE/dl
	mkdir -p "$DL" 2>/dev/null ||
		die "cannot make $DL: set XDG_CACHE_HOME to a folder you can write to"
	export CCACHE_DIR=${CCACHE_DIR:-$CACHE/ccache}
	git_settings

	# Refs in the repository of SRC: the base, and the stack as it was last applied.
	BASE_REF=refs/tags/base
	STACK_REF=refs/lab/stack
}

# bases: prints the names of all bases: mainline, then the others, newest first.
bases() {
	echo mainline
	(cd "$TOP/configs" && printf '%s\n' *.base) | sed -e 's/\.base$//' -e '/^mainline$/d' | sort -rV
}

check_settings
set_arch
