# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The cache that all clones of a user share, in CACHE. Each entry is a folder ROOM/KEY, where
# ROOM is one of the names below, and KEY is a hash of the inputs. An entry is written to a
# temporary folder and renamed when complete, so two runs can write the same entry at the
# same time.
#
#   trees      git repositories of the bases, without a working tree
#   images     kernels: bzImage or Image.gz, .config
#   selftests  the tarballs of kselftest-tar
#   programs   busybox, bash and timeout for guests of another architecture
#   initramfs  the initramfs of the guest, with the selftests
#   boots      logs and result.json of boots without a problem
#   checks     logs of checks that passed
#   objects    logs of levels at which what the stack touches compiled
#   runs       one file for each run of the matrix, not a folder; see lib/runs.sh
#   mails      what get_maintainer.pl has printed for a patch
#   lava       device types of lava-server
#   dl, ccache downloads, the compiler cache

# cache_new ROOM: sets CACHE_NEW to a new folder, to be filled and kept.
cache_new() {
	if ! mkdir -p "$CACHE/$1" || ! CACHE_NEW=$(mktemp -d "$CACHE/$1/.new.XXXXXX"); then
		die "cannot write to $CACHE/$1: is the disk full?"
	fi
	chmod 755 "$CACHE_NEW"
}

# cache_keep ROOM KEY: renames that folder to ROOM/KEY.
cache_keep() {
	# If another run was faster, it has stored the same files.
	if ! mv -T "$CACHE_NEW" "$CACHE/$1/$2" 2>/dev/null; then
		rm -rf "$CACHE_NEW"
		[ -d "$CACHE/$1/$2" ] || die "cannot write $CACHE/$1/$2"
	fi
	CACHE_NEW=
}

# cache_put ROOM KEY FILE...: stores the FILEs as the entry ROOM/KEY.
cache_put() {
	local room=$1 key=$2
	shift 2
	cache_new "$room"
	cp "$@" "$CACHE_NEW" || die "cannot write to $CACHE/$room: is the disk full?"
	cache_keep "$room" "$key"
}

# cache_drop ROOM KEY: removes that entry.
cache_drop() {
	local old=$CACHE/$1/.old.$$
	rm -rf "$old"
	if mv -T "$CACHE/$1/$2" "$old" 2>/dev/null; then rm -rf "$old"; fi
}
