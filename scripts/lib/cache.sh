# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What all clones of a user share, in CACHE: each thing is a folder ROOM/KEY, named by
# a hash of what it is made from. It is written aside and renamed when whole, so that
# two runs can write the same at once.
#
#   trees      git repositories of the bases, without a working tree
#   images     kernels: bzImage, .config
#   selftests  what kselftest-tar packs
#   initramfs  the guest's, with the selftests in it
#   boots      logs and result.json of boots without a problem
#   checks     logs of checks that passed
#   dl, ccache downloads, the compiler's cache

# cache_new ROOM: sets CACHE_NEW to a new folder, to be filled and kept.
cache_new() {
	if ! mkdir -p "$CACHE/$1" || ! CACHE_NEW=$(mktemp -d "$CACHE/$1/.new.XXXXXX"); then
		die "cannot write to $CACHE/$1: is the disk full?"
	fi
	chmod 755 "$CACHE_NEW"
}

# cache_keep ROOM KEY: gives that folder its name.
cache_keep() {
	# A run that was quicker has stored the same.
	if ! mv -T "$CACHE_NEW" "$CACHE/$1/$2" 2>/dev/null; then
		rm -rf "$CACHE_NEW"
		[ -d "$CACHE/$1/$2" ] || die "cannot write $CACHE/$1/$2"
	fi
	CACHE_NEW=
}

# cache_put ROOM KEY FILE...: stores the FILEs.
cache_put() {
	local room=$1 key=$2
	shift 2
	cache_new "$room"
	cp "$@" "$CACHE_NEW" || die "cannot write to $CACHE/$room: is the disk full?"
	cache_keep "$room" "$key"
}

# cache_drop ROOM KEY: forgets it.
cache_drop() {
	local old=$CACHE/$1/.old.$$
	rm -rf "$old"
	if mv -T "$CACHE/$1/$2" "$old" 2>/dev/null; then rm -rf "$old"; fi
}
