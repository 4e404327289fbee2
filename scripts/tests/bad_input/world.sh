# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The world of the bad input: a small "kernel" that the lab can fetch, build and boot in a
# second, and a clone of the lab for it. "run" sources this. All is below $NOW; $NEW is a
# copy of it as it was made, because git's worktrees have absolute paths.
#
#   clone    the lab, with a series of two patches; clone/build is LAB_DIR
#   user     the git tree of a user, at the base
#   net      what the network has: the tarball of the base
#   cache    XDG_CACHE_HOME; home: HOME; tmp: TMPDIR
#   bin      programs that take the place of those of this machine
#   reached  a slow program creates it, so the signal can be sent

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
HERE=$TOP/scripts/tests/bad_input

# fresh: makes NOW what it was at the start.
fresh() {
	cd "$WORLD" || return
	rsync -a --delete "$NEW/" "$NOW"
}

commit_all() {
	git -C "$1" add -A
	git -C "$1" commit -q -s -m "$2"
}

make_kernel() {
	local k=$NOW/user s=$NOW/user/tools/testing/selftests
	mkdir -p "$k"/{mm,scripts,Documentation,arch/x86,include/uapi,tools/include} "$s/mm"
	git -c init.defaultBranch=master init -q "$k"
	cp "$HERE/fakes/kernel.mk" "$k/Makefile"
	cp "$HERE/fakes/selftests.mk" "$s/Makefile"
	cp "$HERE/fakes/run_kselftest.sh" "$s"
	touch "$k"/{MAINTAINERS,Documentation/a.rst,arch/x86/a,include/uapi/a.h,tools/include/a.h,mm/gup_test.h,scripts/Kbuild.include,.gitignore} "$s/mm/data"
	echo 'obj-y := oom_kill.o' >"$k/mm/Makefile"
	printf 'int f%d(void);\nint f%d(void) { return 1; }\n\n\n\n' 1 1 2 2 3 3 4 4 5 5 >"$k/mm/oom_kill.c"
	echo 'int main(void) { return 0; }' >"$s/mm/prog.c"
	printf '#!/bin/sh\n' >"$s/mm/wrapper"
	chmod +x "$s/mm/wrapper"
	commit_all "$k" base
	git -C "$k" archive --prefix=linux-0.1/ HEAD | xz -0 >"$NOW/net/linux-0.1.tar.xz"
}

make_clone() {
	local c=$NOW/clone tree=$NOW/clone/build/tree/mainline
	cp -r "$TOP"/{scripts,configs,bench,ci} "$c"
	find "$c" -name __pycache__ -prune -exec rm -rf {} +
	rm "$c"/configs/[0-9]*.base
	cat >"$c/configs/mainline.base" <<-B
		BASE_VERSION=v0 BASE_RELEASE=0.1
		TARBALL_URL=file://$NOW/net/linux-0.1.tar.xz
		DEB_PACKAGE=none DEB_VERSION=1 DEB_SUITE=none DEB_SHA256=0 DEB_TARBALL=./x DEB_FALLBACK='0.*'
		KSFT_BINARIES=prog KSFT_WRAPPERS=wrapper KSFT_FILES=data
	B
	cp "$c/configs/mainline.base" "$c/configs/old.base"
	mkdir -p "$c/patches/old"
	echo 0001-none.patch >"$c/patches/old/series"
	echo 'prog pass' >"$c/patches/expected"
	printf '%s\n' 'Subject: x' 'base: v0' 'change-id: x' '' x >"$c/COVER_LETTER.md"
	echo /build/ >"$c/.gitignore"
	git -c init.defaultBranch=master init -q "$c"
	cd "$c" || return
	"$c/scripts/commands/fetch"
	sed -i s/f2/second/ "$tree/mm/oom_kill.c"
	commit_all "$tree" 'mm: rename the second'
	sed -i s/f4/fourth/ "$tree/mm/oom_kill.c"
	commit_all "$tree" 'mm: rename the fourth'
	"$c/scripts/commands/export"
	"$c/scripts/commands/boot"
	commit_all "$c" lab
}

# make_world: fills NEW. What the lab says meanwhile is in $WORLD/made.
make_world() {
	mkdir -p "$NOW"/{clone,user,net,home,tmp,bin}
	export HOME=$NOW/home TMPDIR=$NOW/tmp XDG_CACHE_HOME=$NOW/cache PATH=$NOW/bin:$PATH
	export ACCEL=tcg REACHED=$NOW/reached GIT_CONFIG_NOSYSTEM=1
	printf '[user]\n\tname = A. User\n\temail = user@example.org\n' >"$HOME/.gitconfig"
	[ -n "$REAL_KERNEL" ] || cp "$HERE/fakes/qemu-system-x86_64" "$NOW/bin"
	# All packages are there, whatever this machine has.
	# shellcheck disable=SC2016 # of that script
	fake dpkg-query 'shift 3; for p; do echo "$p install ok installed"; done'
	make_kernel
	make_clone
	cd "$WORLD" || return
	mv "$NOW" "$NEW"
}

# fake NAME TEXT: puts a shell script into bin.
fake() {
	printf '#!/bin/sh\n%s\n' "$2" >"$NOW/bin/$1"
	chmod +x "$NOW/bin/$1"
}
