# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Functions of the command "lava", which sources this after lab.sh. OUT is
# LAB_DIR/results/lava.

lava_results=()

# lava_level LEVEL: builds its kernel, links it below OUT/files, and writes its job to
# OUT/BASE/LEVEL.yaml. URL is the address of OUT/files.
lava_level() {
	local level=$1 text files=$OUT/files job=$OUT/$BASE/$1.yaml
	run "$COMMANDS/build" "$level" || exit 1
	mkdir -p "$files/$BASE/$level" "$OUT/$BASE"
	ln -sfn "$(readlink -f "$(image_of "$level" lean)")" "$files/$BASE/$level/bzImage"
	# Drop the header of the template.
	text=$(sed -n '/^job_name:/,$p' "$TOP/ci/lava-job.yaml")
	text=${text//@NAME@/"$BASE, $level"}
	text=${text//@KERNEL_URL@/"$URL/$BASE/$level/bzImage"}
	text=${text//@RAMDISK_URL@/"$URL/initramfs.gz"}
	text=${text//@TARBALL_URL@/"$URL/kselftest-x86_64.tar.gz"}
	printf '%s\n' "$text" >"$job.new"
	mv "$job.new" "$job"
}

# lava_files: makes the files that all levels share.
lava_files() {
	guest_initramfs
	mkdir -p "$OUT/files"
	ln -sfn "$(readlink -f "$INITRAMFS")" "$OUT/files/initramfs.gz"
	ln -sfn "$LAB_DIR/results/kselftest-x86_64.tar.gz" "$OUT/files/kselftest-x86_64.tar.gz"
}

# lava_templates: sets TEMPLATES to the device types from lava-server, in the version of
# lava-dispatcher. Unpacks the package and does not install it, because it is a server.
lava_templates() {
	local version deb
	TEMPLATES=/usr/share/lava-server/device-types
	[ ! -r "$TEMPLATES/qemu.jinja2" ] || return 0
	version=$(dpkg-query -W -f '${Version}' lava-dispatcher 2>/dev/null) ||
		die "lava-run is not from Debian's package: install lava-server too, for its device types"
	TEMPLATES=$CACHE/lava/$version
	[ ! -r "$TEMPLATES/qemu.jinja2" ] || return 0
	mkdir "$TMP/deb"
	if ! (cd "$TMP/deb" && apt-get download -qq "lava-server=$version") >"$TMP/apt" 2>&1; then
		# The package lists may be old.
		[ "$(id -u)" != 0 ] || apt-get update >/dev/null 2>&1 || true
		(cd "$TMP/deb" && apt-get download -qq "lava-server=$version") >"$TMP/apt" 2>&1 ||
			die "cannot download lava-server=$version: $(grep -m1 '^E:' "$TMP/apt" || tail -n 1 "$TMP/apt")"
	fi
	deb=("$TMP"/deb/*.deb)
	dpkg-deb -x "${deb[0]}" "$TMP/deb/x" || die "lava-server=$version was damaged in the download: run this again"
	cache_put lava "$version" "$TMP"/deb/x/usr/share/lava-server/device-types/*.jinja2
	[ -r "$TEMPLATES/qemu.jinja2" ] || die "lava-server=$version has no device type qemu.jinja2"
}

# lava_run LEVEL: runs its job with lava-run, and evaluates the log. Adds to lava_results,
# for matrix.py.
lava_run() {
	local level=$1 job=$OUT/$BASE/$1.yaml dir=$OUT/$BASE/$1 rc=0
	choose_accel "$OUT/files/$BASE/$level/bzImage" "$INITRAMFS"
	say "  accelerator: $ACCEL"
	rm -rf "$dir"
	mkdir -p "$dir"
	PATH=/usr/bin:$PATH "$LIB/lava_device.py" "$TEMPLATES" "$job" "$ACCEL" ${CPU:+"$CPU"} >"$dir/device.yaml" || exit 1
	progress "LAVA job" "$dir/log.yaml" lava-run --job-id "$$" --output-dir "$TMP/lava" \
		--device "$dir/device.yaml" "$job" || rc=$?
	lava_read "$dir/log.yaml" "$level"
	# lava-run must not fail if its log shows no problem.
	if [ "$rc" != 0 ] && [ "$lava_state" = 0 ]; then
		die "lava-run failed with status $rc, but its log shows no problem: see $dir/log.yaml"
	fi
}

# lava_read LOG LEVEL: evaluates the log of that level's job. Sets lava_state to 0 if there is no
# problem in it, and to 2 if there is one.
lava_read() {
	local dir=$OUT/$BASE/$2
	mkdir -p "$dir"
	lava_state=0
	python3 "$LIB/lava_log.py" "$1" "$dir" || lava_state=$?
	case $lava_state in 0 | 2) ;; *) exit 1 ;; esac
	lava_results+=("$2=$dir/result.json")
}

# lava_matrix: prints the matrix of lava_results; returns 2 if a result differs.
lava_matrix() {
	local rc=0
	judge_levels "$OUT/$BASE" "$(cut -d' ' -f1 <<<"$LEVELS" | paste -sd,)" "${lava_results[@]}" || rc=$?
	say "logs and results: $OUT/$BASE"
	return "$rc"
}
