# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2016 # texts of scripts
#
# What the cases set up: the word "full-disk" of a table calls set_full_disk, in the clone.
# Those that change how the command runs add to WRAP, a command that runs it.

build=$NOW/clone/build tree=$NOW/clone/build/tree/mainline
cache=$NOW/cache/oom-reaper-lab

# without NAME...: a PATH that lacks these programs.
without() {
	local f
	mkdir "$NOW/path"
	ln -sft "$NOW/path" /usr/sbin/* /usr/bin/*
	for f; do rm -f "$NOW/path/$f" "$NOW/bin/$f"; done
	export PATH=$NOW/bin:$NOW/path
}

# What the lab has done before.
set_cold() { rm -rf "$build" "$cache"; }
set_no_build() { rm -rf "$build"; }
set_no_images() { rm -rf "$cache"/{images,boots} "$build"/{images,obj}; }
set_no_boots() { rm -rf "$cache"/{boots,runs}; }
set_shards() {
	mkdir -p "$NOW/shards"
	echo '{"shard": 1, "of": 2, "commit": "x", "bases": "mainline"}' >"$NOW/shards/shard.json"
}

# The machine.
set_no_packages() {
	without cpio
	fake dpkg-query true
}
set_no_apt() {
	set_no_packages
	fake apt-get 'echo "E: Failed to fetch http://deb.example.org/x  Connection failed" >&2; exit 100'
}
set_no_default_qemu() { without qemu-system-x86_64; }
set_b4() { fake b4 true; }
set_failing_b4() { fake b4 'echo "cannot reach the server"; exit 1'; }
set_no_dpkg() { without cpio dpkg-query; }
set_nobody() {
	[ "$(id -u)" = 0 ] || return 0
	WRAP+=(setpriv --reuid=65534 --regid=65534 --clear-groups)
}
set_no_identity() { rm "$HOME/.gitconfig"; }
set_closed_stdin() { WRAP+=(bash -c 'exec "$@" <&-' bash); }

# private ARG...: runs the command in namespaces of its own (unshare), after the shell
# command in SETUP_THERE.
private() {
	local args=("$@")
	[ "$(id -u)" = 0 ] || args+=(-r)
	unshare "${args[@]}" true 2>/dev/null || skip "this user cannot have namespaces (unshare ${args[*]})"
	WRAP+=(unshare "${args[@]}" bash -c "${SETUP_THERE:-true}"' && exec "$@"' bash)
}
set_no_network() { private -n; }
# small_disk FOLDER KIB: df says that there is room, as another program fills the disk
# after the lab has looked.
small_disk() {
	mkdir -p "$1"
	SETUP_THERE="mount -t tmpfs -o size=$2k tmpfs $1" private -m
}
df_lies() { fake df 'echo Avail; echo 99999999'; }
set_full_disk() { small_disk "$build" 1000; }
set_full_later() { small_disk "$build" "$1"; df_lies; }
set_full_at_100k() { set_full_later 100; }
set_full_at_1M() { set_full_later 1000; }
set_full_at_3M() { set_full_later 3000; }
set_full_cache() { small_disk "$NOW/cache" 100; }
set_full_tmp() { small_disk "$build/tmp" 4; }
set_read_only_cache() { SETUP_THERE="mount --bind $NOW/cache $NOW/cache && mount -o remount,bind,ro $NOW/cache" private -m; }
set_read_only_build() { SETUP_THERE="mount --bind $build $build && mount -o remount,bind,ro $build" private -m; }

# Programs that never end, to be ended by a signal.
set_slow_download() {
	rm "$NOW/net"/*
	fake curl 'case "$*" in *-o*) touch "$REACHED"; sleep 300 ;; esac'
}
set_slow_unpack() { fake xz 'touch "$REACHED"; sleep 300'; }
# After 4 s the guest is in its tests. The process that waits for that must not outlive QEMU.
set_reached_in_qemu() {
	fake qemu-system-x86_64 "case \"\$*\" in *-kernel*)
			(timeout 4 tail -f -s 0.2 --pid=\$\$ /dev/null || touch $REACHED) & esac
		exec $(command -v qemu-system-x86_64) \"\$@\""
}
set_slow_compiler() { export SLOW_CC=$REACHED; }

# Downloads.
set_network() {
	cp "$NEW"/net/* "$NOW/net"
	rm -f "$NOW/bin"/{curl,xz,df}
}
set_no_indextargets() { fake apt-get true; }
set_no_kernel_org() { rm "$NOW/net"/*; }
set_damaged_tarball() { printf '%s' garbage | dd of="$NOW/net/linux-0.1.tar.xz" bs=1 seek=400 conv=notrunc status=none; }
set_short_tarball() { truncate -s 700 "$NOW/net/linux-0.1.tar.xz"; }
set_other_tarball() { (cd "$NOW/user" && echo >>mm/oom_kill.c && tar -cJf "$NOW/net/linux-0.1.tar.xz" --transform s,^,linux/, -- * .gitignore && git checkout -q mm); }
set_part_of_tarball() {
	mkdir -p "$cache/dl"
	head -c 500 "$NOW/net/linux-0.1.tar.xz" >"$cache/dl/linux-0.1.tar.xz.part"
}
set_wrong_deb() {
	set_no_kernel_org
	mkdir -p "$cache/dl"
	echo x >"$cache/dl/none_1_all.deb"
}
# mirror VERSION: a Debian mirror that has that version, whose download fails.
mirror() {
	set_no_kernel_org
	fake apt-get 'case "$*" in *indextargets*) . /etc/os-release; echo "$VERSION_CODENAME main http://localhost:9/" ;;
		*download*) echo "E: Failed to fetch x  Connection reset" >&2; exit 100 ;; esac'
	fake apt-cache "echo 'none | $1 | http://localhost:9/ x/main amd64 Packages'"
}
set_breaking_mirror() { mirror 1; }
set_newer_mirror() { mirror 5; }
set_damaged_cached_tree() { find "$cache/trees" -name '*.pack' -exec truncate -s 100 {} +; }

# Trees and series.
set_dirty_tree() { sed -i s/f5/fifth/ "$tree/mm/oom_kill.c"; }
set_more_commits() {
	set_dirty_tree
	commit_all "$tree" 'mm: rename the fifth'
}
set_rebase_in_progress() { mkdir "$tree/.git/rebase-merge"; }
set_rewritten_base() { git -C "$tree" checkout -q --orphan stack2 && git -C "$tree" commit -q -m x && git -C "$tree" branch -q -M stack2 stack; }
set_no_commits() { git -C "$tree" reset -q --hard base; }
set_detached() { git -C "$tree" checkout -q --detach; }
set_no_branch() { git -C "$tree" checkout -q --detach && git -C "$tree" branch -q -D stack; }
set_bad_hunk() { sed -i 's/^-int f2/-int g2/' patches/*-second.patch; }
set_other_blob() { sed -i 's/^index ..../index abcd/' patches/*-second.patch; }
set_short_blob() { sed -i 's/^index .*/index abcd..1234 100644/' patches/*-second.patch; }
set_not_a_patch() { echo nothing >"$(echo patches/*-fourth.patch)"; }
set_missing_patch() { echo 0003-none.patch >>series; }
set_no_series() { rm series; }
set_empty_series() { : >series; }
set_no_expected() { rm patches/expected; }
set_bad_expected() { echo 'prog perhaps' >patches/expected; }
set_other_expected() { echo 'prog flips fourth' >patches/expected; }
set_no_cover() { rm COVER_LETTER.md; }
set_bad_cover() { echo >COVER_LETTER.md; }
set_topic() {
	sed -i -e '1i# topic f2' -e '2i# topic f4' series
	mkdir topics
	printf '%s\n' "needs: ${NEEDS:-}" '' x >topics/f2.md
}
set_does_not_compile() {
	sed -i 's/return 1;/return x;/' "$tree/mm/oom_kill.c"
	commit_all "$tree" 'mm: use what there is not'
	scripts/commands/export >"$NOW/export"
}
set_warns() {
	sed -i '0,/{ return 1/s//{ int unused; return 1/' "$tree/mm/oom_kill.c"
	commit_all "$tree" 'mm: add a warning'
	scripts/commands/export >"$NOW/export"
}
set_user_tree_differs() {
	echo >>"$NOW/user/mm/oom_kill.c"
	commit_all "$NOW/user" other
}
set_other_paths() {
	mkdir -p "$NOW"/{folder,repo}
	echo x >"$NOW/file"
	git init -q "$NOW/repo"
}
set_mails() {
	local m=$NOW/mails f
	mkdir -p "$m"/{folder,quilt}
	printf 'VERSION = 6\nPATCHLEVEL = 14\n' >>"$NOW/user/Makefile"
	commit_all "$NOW/user" version
	for f in a b; do
		echo >>"$NOW/user/mm/oom_kill.c"
		commit_all "$NOW/user" "mm: $f"
	done
	git -C "$NOW/user" format-patch -q -o "$m" HEAD~2
	git -C "$NOW/user" reset -q --hard HEAD~2
	echo "no mail" >"$m/text"
	: >"$m/empty"
	sed '/^diff/,$d' "$m/0001-mm-a.patch" >"$m/no-diff"
	cat "$m"/000[12]* "$m/0001-mm-a.patch" >"$m/twice"
	echo a.diff -p0 >"$m/quilt/series"
	touch "$m/quilt/a.diff"
	sed 's, 1/2\],],' "$m/0001-mm-a.patch" >"$m/single"
	gzip -k "$m/0001-mm-a.patch"
}
set_space_in_path() {
	mv "$NOW/clone" "$NOW/a clone"
	mkdir "$NOW/clone"
	cd "$NOW/a clone" || return
	rm -rf build
}
set_space_cd() { cd "$NOW/a clone" || return; }
set_other_owner() {
	[ "$(id -u)" = 0 ] || skip "needs root"
	chown -R 65534 "$NOW/user"
}

# Others who run at the same time.
set_other_run() { flock "$build/.lock" sleep 1.5 & sleep 0.3; }
set_other_user_of_the_cache() { flock -s "$cache/.lock" sleep 1.5 & sleep 0.3; }

# both DIR DIR: boots in both at the same time. Prints what they say.
both() {
	local rc=0 first
	"$1/scripts/lab" boot &
	first=$!
	"$2/scripts/lab" boot || rc=$?
	wait "$first" || rc=$?
	exit "$rc"
}
both_in_one() { both "$NOW/clone" "$NOW/clone"; }
both_in_two() {
	cp -r "$NOW/clone" "$NOW/clone2"
	both "$NOW/clone" "$NOW/clone2"
}
