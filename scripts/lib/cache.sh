# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What all clones of a user share, in CACHE: each thing is a folder ROOM/KEY, named by
# a hash of what it is made from. It is written aside and renamed when whole, so that
# two runs can write the same at once.
#
#   images     kernels: bzImage, .config
#   selftests  what kselftest-tar packs
#   initramfs  the guest's, with the selftests in it
#   boots      logs and result.json of boots without a problem
#   dl, ccache downloads, the compiler's cache

# cache_put ROOM KEY FILE...: stores the FILEs.
cache_put() {
	local room=$CACHE/$1 key=$2
	shift 2
	if ! { mkdir -p "$room" && CACHE_NEW=$(mktemp -d "$room/.new.XXXXXX") &&
		chmod 755 "$CACHE_NEW" && cp "$@" "$CACHE_NEW"; }; then
		die "cannot write to $room: is the disk full?"
	fi
	# Who was quicker has stored the same.
	if ! mv -T "$CACHE_NEW" "$room/$key" 2>/dev/null; then
		rm -rf "$CACHE_NEW"
		[ -d "$room/$key" ] || die "cannot write $room/$key"
	fi
	CACHE_NEW=
}

# cache_drop ROOM KEY: forgets it.
cache_drop() {
	local old=$CACHE/$1/.old.$$
	rm -rf "$old"
	if mv -T "$CACHE/$1/$2" "$old" 2>/dev/null; then rm -rf "$old"; fi
}
