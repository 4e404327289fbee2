#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# stack - build and boot each level, print which patch turned which test
#
# Usage: scripts/stack          the base and the tree after each patch
#        scripts/stack ends     the base and the tip; of what is between, only
#                               the objects that the stack touches are compiled
#        scripts/stack tip      the tip alone
#        scripts/stack debug    ... with the debug config on top
#
# A boot is not repeated where kernel, initramfs and QEMU's arguments are the
# same and it had no problem; FRESH=1 repeats all. Seconds of each stage at the
# end.
# Gives: LAB_DIR/results/BASE/{matrix.md,junit.xml,results.ktap} (for debug, in
# results/BASE/debug; for ends and tip, in results/BASE/ends and tip), logs in LAB_DIR/logs/BASE/LEVEL.
# Exit: 0 all as expected; 2 something differs from patches/expected; 1 no
# matrix, with the reason.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
lab_base
lab_lock
lab_tmp

flavour=lean mode=${1:-all}
case $mode in
all) out=$RESULTS ;;
ends | tip) out=$RESULTS/$mode ;;
debug)
	flavour=debug
	out=$RESULTS/debug
	# KASAN's shadow takes an eighth; everything is several times slower.
	export MEM=${MEM:-4G} BOOT_TIMEOUT=${BOOT_TIMEOUT:-1200}
	;;
*) die "usage: scripts/stack [ends|tip|debug]" ;;
esac

[ -r "$EXPECTED" ] || die "no $EXPECTED: say there what each test should give"

times=()
mark=$SECONDS
stage() {
	times+=("$1 $((SECONDS - mark)) s")
	mark=$SECONDS
}

"$TOP/scripts/fetch"
stage fetch
"$TOP/scripts/apply"
stage apply
say "selftests"
run "$TOP/scripts/selftests"
initramfs=$SELFTESTS/initramfs.gz
stage selftests
levels >"$TMP/levels"
order=$(cut -d' ' -f1 "$TMP/levels" | paste -sd,)
case $mode in
ends)
	"$TOP/scripts/objects"
	stage objects
	sed -i '1p;$!d' "$TMP/levels"
	;;
tip | debug) sed -i '$!d' "$TMP/levels" ;;
esac
count=$(wc -l <"$TMP/levels") n=0 built=0 booted=0
args=()
while read -r level _ <&3; do
	n=$((n + 1))
	say "level $n of $count: $level"
	t=$SECONDS
	run "$TOP/scripts/build" "$level" "$flavour"
	image=$IMAGES/$level-$flavour/bzImage
	built=$((built + SECONDS - t)) t=$SECONDS

	if [ "$n" = 1 ]; then
		ACCEL=$("$TOP/scripts/accel" "$image" "$initramfs")
		export ACCEL
		say "  accelerator: $ACCEL, ${SMP:-2} CPUs"
	fi
	boot_cached "$image" "$initramfs"
	ln -sfn "boots/${boot_dir##*/}" "$LOGS/$level${flavour#lean}"
	booted=$((booted + SECONDS - t))
	args+=("$level=${boot_was_cached:+cached:}$boot_dir/result.json")
done 3<"$TMP/levels"
times+=("build $built s" "boot $booted s")

say ""
rc=0
python3 "$TOP/scripts/matrix.py" --expected "$EXPECTED" --base "$BASE" --out "$out" --order "$order" "${args[@]}" || rc=$?
say ""
say "stages: $(printf '%s, ' "${times[@]}")all $SECONDS s"
say "logs: $LOGS; results: $out"
exit "$rc"
