#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# objects - compile what the stack touches, at every level
#
# Usage: scripts/objects
#
# The .c files that the stack changes in the kernel, after each patch, with the
# lean config and W=1: a quick look whether each patch builds where not each is
# booted. Warnings in them that the base has not are errors.
# Exit: 0 all compile; 1 not, with the first error.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
lab_base
lab_lock
lab_tmp

obj=$OBJ/objects log=$LOGS/objects.log
levels=$(levels)
mapfile -t sources < <(git -C "$SRC" diff --name-only "$BASE_REF" "$STACK_REF" | grep -E '\.c$' | grep -v '^tools/')
[ ${#sources[@]} -gt 0 ] || die "the stack of $BASE changes no source of the kernel"

rm -rf "$obj"
mkdir -p "${obj%/*}"
lab_git -C "$SRC" checkout -q -f --detach "$BASE_REF"
"$TOP/scripts/kconfig" "$obj" lean
# warnings: those in the log, less the folder and the line.
warnings() {
	sed -nE -e "s,^$SRC/,," -e 's/^([^ :]+):[0-9:]+ (warning:.*)/\1: \2/p' "$log" | sort
}

start=$SECONDS n=0
while read -r name commit <&3; do
	lab_git -C "$SRC" checkout -q -f --detach "$commit"
	run kernel_make "$obj" W=1 "${sources[@]/%.c/.o}" >"$log" 2>&1 ||
		die "$name does not compile: $(first_error "$log"); see $log"
	[ "$n" != 0 ] || warnings >"$TMP/base"
	new=$(warnings | comm -13 "$TMP/base" -)
	[ -z "$new" ] ||
		die "$name: a warning in a file that the stack touches: ${new%%$'\n'*}; see $log"
	n=$((n + 1))
done 3<<<"$levels"
say "  ${sources[*]} at $n levels: $((SECONDS - start)) s"
