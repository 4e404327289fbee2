# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Shards: several machines boot a part of the levels each. "boot --shard" and "merge" source
# this after lab.sh.

# clone_id: prints the commit of this clone, and a hash of the uncommitted changes.
clone_id() {
	local id git=(git -C "$TOP" -c safe.directory="$TOP")
	id=$("${git[@]}" rev-parse -q --verify HEAD 2>/dev/null) ||
		die "$TOP is not a git clone: shards need its commit, so that merge does not mix versions"
	if ! "${git[@]}" diff --quiet HEAD; then
		id+=-$("${git[@]}" diff --no-ext-diff --no-textconv --binary HEAD | sha)
	fi
	echo "$id"
}

# boot_shard I/N [BASE]: boots the levels of that shard, of all bases or of one. Writes for
# "merge", to LAB_DIR/results/shards/I-of-N:
#   shard.json               the number of the shard, its commit and bases
#   BASE/LEVEL/result.json   as lib/ktap.py writes it
#   BASE/cached              the levels whose boot was cached
#   BASE/seconds             how long each stage took
# Returns 0 if all is as expected, 2 if not.
boot_shard() {
	local shard=$1 all=$2 id plan base levels level out worst=0 rc
	need_native
	[ -z "${KERNEL:-}" ] || die "KERNEL is one tree, but a shard has levels of several bases: unset it"
	[ -n "$all" ] || all=$(bases)
	id=$(clone_id)
	lab_lock
	lab_tmp
	mkdir -p "$TMP/shard"
	# shellcheck disable=SC2086 # a list of names
	plan=$(python3 "$LIB/deal.py" --note "$TMP/shard/shard.json" --commit "$id" -- "$shard" $all) || exit 1
	while read -r base levels <&4; do
		say "base $base, shard $shard"
		rc=0
		# shellcheck disable=SC2086 # a list of names
		run "$COMMANDS/boot" --base "$base" $levels 4<&- || rc=$?
		case $rc in
		0) ;;
		2) worst=2 ;;
		*) die "base $base of shard $shard could not be tested, see above; what is built and booted is cached: run it again" ;;
		esac
		mkdir "$TMP/shard/$base"
		for level in $levels; do
			mkdir "$TMP/shard/$base/$level"
			cp "$LAB_DIR/logs/$base/$level/result.json" "$TMP/shard/$base/$level"
		done
		PYTHONPATH=$LIB python3 -c 'import pathlib, sys, runs
run, out = runs.load(pathlib.Path(sys.argv[1])), pathlib.Path(sys.argv[2])
(out / "cached").write_text("".join(lv["name"] + "\n" for lv in run["levels"] if not lv["booted"]), encoding="utf-8")
(out / "seconds").write_text("".join(f"{name} {n} s\n" for name, n in run["stages"].items()), encoding="utf-8")' \
			"$LAB_DIR/results/$base/some/run.json" "$TMP/shard/$base" || die "the run of base $base is not kept, see above"
		say ""
	done 4<<<"$plan"

	out=$LAB_DIR/results/shards/$((10#${shard%/*}))-of-$((10#${shard#*/}))
	mkdir -p "${out%/*}"
	rm -rf "$out"
	mv "$TMP/shard" "$out"
	say "shard $shard: $SECONDS s; pass this folder to 'scripts/lab merge': $out"
	return "$worst"
}
