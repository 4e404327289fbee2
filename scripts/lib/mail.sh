#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# prep - make the branch that b4 sends: the stack, signed off by who sends it
#
# Usage: scripts/prep [mm|tests]
#
# The repository LAB_DIR/send/BASE (send/tests) is made anew, from the objects of the
# applied stack; nothing of the tree that they come from is touched. In it, branch
# "oom-reaper" has the patches of the mm series (of the tests' series), on the base
# alone, with their author kept and the Signed-off-by of git's user.name and user.email
# appended, and is enrolled with b4: cover letter from COVER_LETTER.md
# (COVER_LETTER.tests.md), To and Cc from the tree's own get_maintainer.pl, and both
# linux-mm and linux-kernel.
# The version is one above the newest tag sent/BASE-vN (sent/tests-vN) of this
# repository. From v2 on the cover letter must have a line "Changes in vN:" below a line
# "---"; a link to the last version and the range-diff against it are added there. @LAB@ in the
# letter becomes the address of this repository's remote "origin"; without one that
# others can reach, the mails say that it is not published.
# Environment: TRAILERS, an mbox with replies, of which b4 takes the trailers that
# people gave; PREFIXES, more of the subjects' prefixes, such as RFC.
# Exit: 0 the branch is there; 1 it is not, with the reason.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
lab_base
lab_lock
lab_tmp

name=$(git -C "$TOP" config user.name || true) email=$(git -C "$TOP" config user.email || true)
if [ -z "$name" ] || [ -z "$email" ]; then
	die "git does not know who you are, whose Signed-off-by is to be appended: git config --global user.name and user.email"
fi
# get_maintainer.pl orders equals as Perl's hashes do, which is another way each time.
export PERL_HASH_SEED=0 PERL_PERTURB_KEYS=0
command -v b4 >/dev/null || die "no b4: run scripts/lab setup"
[ -z "${TRAILERS:-}" ] || [ -r "$TRAILERS" ] || die "TRAILERS=$TRAILERS: cannot read that mbox"
mail_series "$@"
stack=$(pick_series "$WHICH")
[ -r "$COVER" ] || die "no $COVER: a series needs a cover letter"

# cover_field NAME: of the lines "NAME: value" at the start of the cover letter.
cover_field() {
	sed -n -e '/^[A-Za-z-]*: /!{/./q}' -e "s/^$1: //p" "$COVER"
}
subject=$(cover_field Subject) base=$(cover_field base) change_id=$(cover_field change-id)
if [ -z "$subject" ] || [ -z "$base" ] || [ -z "$change_id" ]; then
	die "$COVER must begin with lines 'Subject: ', 'base: ' and 'change-id: '"
fi

last=$({ git -C "$TOP" tag -l "sent/$MAIL_ID-v*" 2>/dev/null || true; } | sed "s,^sent/$MAIL_ID-v,," | sort -n | tail -n 1)
version=$((${last:-0} + 1))
if [ "$version" -gt 1 ] && ! sed '1,/^---$/d' "$COVER" | grep -q "^Changes in v$version:"; then
	die "v$last was sent: say below a line '---' of $COVER, after 'Changes in v$version:', what is new"
fi

repo=$LAB_DIR/send/$MAIL_ID
sparse_repo "$repo" "$BASE_REF"
g() {
	lab_git -C "$repo" "$@"
}
excluded=$(git -C "$TOP" config b4.email-exclude || true)
# What b4 and git read of a user's settings must not change the patches. Full blob
# ids let others find the base.
while read -r key value; do
	g config "$key" "$value"
done <<EOF
user.name $name
user.email $email
core.abbrev 40
diff.noprefix false
diff.mnemonicPrefix false
diff.algorithm myers
diff.renames false
diff.context 3
diff.interHunkContext 0
diff.indentHeuristic true
diff.suppressBlankEmpty false
diff.orderFile /dev/null
b4.prep-cover-strategy branch-description
b4.prep-cover-template $repo/.git/cover-template
b4.prep-pre-flight-checks disable-all
b4.email-exclude $PROJECT_EMAIL${excluded:+,$excluded}
EOF
commit=$(g rev-parse base)

# sign_off COMMIT PARENT: the same with the sender's Signed-off-by, on PARENT.
sign_off() {
	local author_name author_email author_date
	{ read -r author_name; read -r author_email; read -r author_date; } < <(
		g log -1 --format='%an%n%ae%n%aD' "$1")
	g log -1 --format=%B "$1" |
		g -c trailer.ifexists=addIfDifferent interpret-trailers --trailer "Signed-off-by: $name <$email>" |
		GIT_AUTHOR_NAME=$author_name GIT_AUTHOR_EMAIL=$author_email GIT_AUTHOR_DATE=$author_date \
			GIT_COMMITTER_NAME=$name GIT_COMMITTER_EMAIL=$email GIT_COMMITTER_DATE=$author_date \
			g commit-tree -p "$2" "$1^{tree}"
}
tip=$commit
for c in $stack; do
	tip=$(sign_off "$c" "$tip")
done
# In a branch of that name, ids of messages and of tags have it, too.
g checkout -q -b oom-reaper "$tip" 2>"$TMP/err" || die "cannot write to $repo: $(tail -n 1 "$TMP/err")"

# Only a real history has a commit that others know the base by. b4 0.12 would name
# the one before it.
bases="base: $base"
[ -z "${KERNEL:-}" ] || bases+=$'\n'"base-commit: $commit"
signature='-- '
cat >"$repo/.git/cover-template" <<EOF
\${cover}

---
\${shortlog}

\${diffstat}
---
$bases
change-id: \${change_id}

$signature
\${signature}
EOF

# Where readers find the lab. A path of this machine is of no use to them.
lab=$(git -C "$TOP" config remote.origin.url || true)
case $lab in
*://*@*) lab=${lab%%://*}://${lab#*@} ;;
esac
case $lab in
https://* | http://* | git://*) ;;
*) lab='(not published yet)' ;;
esac

# A "---" in it is where the part begins that is not for the history.
{
	echo "$subject"
	echo
	sed -e '1,/^$/{/^[A-Za-z-]*: /d}' -e "s,@LAB@,$lab," "$COVER" | sed '/./,$!d' >"$TMP/body"
	sed '/^---$/,$d' "$TMP/body"
	[ "$version" = 1 ] || {
		echo ---
		sed '1,/^---$/d' "$TMP/body"
	}
} >"$TMP/cover"

if [ "$version" -gt 1 ]; then
	# v(N-1) as this repository had it then, on this base.
	old=$commit
	export GIT_INDEX_FILE=$TMP/index
	tag=sent/$MAIL_ID-v$last
	g read-tree "$commit"
	for p in $(git -C "$TOP" show "$tag:${SERIES#"$TOP/"}" | of_series "$WHICH"); do
		git -C "$TOP" show "$tag:${PATCHES#"$TOP/"}/$p" >"$TMP/patch"
		g apply --cached "$TMP/patch" 2>"$TMP/err" ||
			die "$p of $tag does not apply to $BASE_RELEASE, so there is no range-diff: $(head -n 1 "$TMP/err")"
		git mailinfo "$TMP/message" /dev/null <"$TMP/patch" >"$TMP/info"
		old=$({ sed -n 's/^Subject: //p' "$TMP/info"; echo; cat "$TMP/message"; } |
			g commit-tree -p "$old" "$(g write-tree)")
	done
	unset GIT_INDEX_FILE
	{
		echo
		echo "Range-diff against v$last ($(git -C "$TOP" for-each-ref --format='%(contents:subject)' "refs/tags/$tag")):"
		# Without the sign-offs, which differ anyway.
		g -c core.abbrev=12 range-diff --no-color --creation-factor=80 "$commit..$old" \
			"$commit..${stack##*$'\n'}"
	} >>"$TMP/cover"
fi

b4_run() {
	(cd "$repo" && b4 --offline-mode --no-interactive "$@") >"$TMP/b4" 2>&1 </dev/null ||
		die "b4 $1 failed: $(grep -m1 -E 'CRITICAL|Error' "$TMP/b4" || tail -n 1 "$TMP/b4")"
}
prefixes=${PREFIXES:-}
[ "$BASE" = mainline ] || prefixes="$prefixes $BASE"
b4_run prep --enroll base
g config branch.oom-reaper.description "$(cat "$TMP/cover")"
g config branch.oom-reaper.b4-tracking "$(g config branch.oom-reaper.b4-tracking |
	sed -E "s/(\"change-id\": \")[^\"]*/\1$change_id/")"
# shellcheck disable=SC2086 # words
[ -z "$prefixes" ] || b4_run prep --set-prefixes $prefixes
[ "$version" = 1 ] || b4_run prep --force-revision "$version"
b4_run prep --auto-to-cc
if [ -n "${TRAILERS:-}" ]; then
	b4_run trailers --update --use-local-mbox "$(realpath "$TRAILERS")"
	say "  trailers: $(grep -cE '^ +\+ ' "$TMP/b4" || true) taken from $TRAILERS"
fi
lists=$(g config branch.oom-reaper.description | grep -cE '^(To|Cc): .*(linux-mm@kvack\.org|linux-kernel@vger\.kernel\.org)' || true)
[ "$lists" = 2 ] || g config b4.send-series-cc 'linux-mm@kvack.org, linux-kernel@vger.kernel.org'
say "v$version of $MAIL_ID, $(g rev-list --count base..oom-reaper) patches, from $name <$email>"
