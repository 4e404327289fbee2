# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # stage_times, boot_results: matrix.sh
#
# Keeps each run of the matrix as one file in the cache, in the room "runs" (lib/runs.py), and
# makes a page from it (lib/page.py). If that fails, the run continues with a warning.

# note_level LEVEL IMAGE DIR SECONDS: records a level for keep_run: its kernel, the folder
# with its result.json, the seconds of its build. Call it after boot_cached.
run_levels=()
note_level() {
	local built=built booted=booted
	# An image that is older than this run comes from the cache.
	[ "$2" -nt "$TMP/levels" ] || built=cached
	[ -z "$boot_was_cached" ] || booted=cached
	run_levels+=("$1 $(cache_key "$2") $(cache_key "$INITRAMFS") $built $4 $booted $3/result.json")
}

# cache_key LINK: prints the key of that file in the cache, or "none".
cache_key() {
	local file
	file=$(readlink -f "$1") || { echo none; return 0; }
	file=${file%/*}
	echo "${file##*/}"
}

# keep_run WHICH FLAVOUR OUT ORDER: writes the run of the recorded levels to OUT/run.json and
# to the cache. If that fails, prints a warning.
keep_run() {
	local said stages=() s qemu
	qemu=$("$QEMU" --version 2>/dev/null) || qemu=
	# A file of an earlier run must not be taken for this one's.
	rm -f "$3/run.json"
	for s in "${stage_times[@]}"; do stages+=(--stage "$s"); done
	if said=$(python3 "$LIB/runkeep.py" --room "$CACHE/runs" --out "$3/run.json" --order "$4" \
		--expected "$EXPECTED" --base "$BASE" "${stages[@]}" --fact key="$KEY$ARCH_DIR" --fact which="$1" \
		--fact flavour="$2" --fact top="$TOP" --fact seconds="$SECONDS" --fact accelerator="${ACCEL:-}" \
		--fact qemu="${qemu%%$'\n'*}" --fact guest_cpus="${SMP:-2}" --fact guest_memory="${MEM:-2G}" \
		--fact guest_cpu="${CPU:-}" --fact kernel_arguments="${KARGS:-}" "${run_levels[@]}" 2>&1); then
		say "run: $said"
	else
		say "warning: this run is not kept: ${said##*$'\n'}"
	fi
}

# matrix_page OUT ORDER: writes OUT/matrix.html. Call it after keep_run.
matrix_page() {
	local said
	said=$(python3 "$LIB/page.py" --expected "$EXPECTED" --base "$BASE" --out "$1" --order "$2" \
		"${boot_results[@]}" 2>&1) || say "warning: cannot make the page: ${said##*$'\n'}"
}
