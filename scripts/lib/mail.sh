# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Makes the branch that b4 sends: a topic or the whole stack, with the sender's Signed-off-by.
#
# Each run creates the repository LAB_DIR/send/BASE (send/TOPIC) again, from the objects of
# the applied stack; it does not change the tree that they come from. Branch "base" is the
# base with the patches that the topic needs, branch "oom-reaper" has its own patches on top.
# It keeps their authors and adds a Signed-off-by with git's user.name and user.email. The
# branch is enrolled with b4: the letter is COVER_LETTER.md (topics/TOPIC.md), which b4 puts
# below the "---" of a single patch. To and Cc come from the tree's get_maintainer.pl and
# from the topic, and include both linux-mm and linux-kernel.
# The version is one above the newest tag sent/BASE-vN (sent/TOPIC-vN) of this
# repository. From v2 on the letter must have a line "Changes in vN:" below a
# line "---"; a link to the last version and the range-diff against it are added there.
# @LAB@ in the letter is replaced by the address of this repository's remote "origin". If
# there is none that others can reach, the mails say that it is not published.

# mail_args OUT [ARG...]: reads the arguments "[TOPIC] [OUT]" of a command, where OUT must
# have a slash. Calls choose_topic, and sets MAIL_OUT to that path, or to nothing.
mail_args() {
	local out=$1 topic=
	shift
	if [[ ${1:-/} != */* ]]; then
		topic=$1
		shift
	fi
	if [ $# -gt 1 ] || [[ ${1:-/} != */* ]]; then
		die "usage: scripts/lab $ME [TOPIC] [$out], where $out has a slash (./$1)"
	fi
	choose_topic "$topic"
	# shellcheck disable=SC2034 # for the command
	MAIL_OUT=${1:-}
}

# choose_topic [TOPIC]: sets TOPIC, MAIL_ID (for tags and folders) and COVER to those of the
# topic, or of the whole stack.
choose_topic() {
	local all
	TOPIC=${1:-} MAIL_ID=${1:-$BASE}
	[ -n "$TOPIC" ] || return 0
	all=$(topics | paste -sd' ')
	[[ " $all " == *" $TOPIC "* ]] || die "no topic '$TOPIC' in the series of $BASE; there are: ${all:-none}"
	COVER=$TOP/topics/$TOPIC.md
}

# last_sent ID: prints the number of the last version that was sent, or nothing.
last_sent() {
	{ git -C "$TOP" tag -l "sent/$1-v*" 2>/dev/null || true; } | sed "s,^sent/$1-v,," | sort -n | tail -n 1
}

# prep_branch: makes the branch in MAIL_REPO, and sets MAIL_VERSION.
prep_branch() {
	local name email stack count field fields=(change-id) last fork commit tip c
	name=$(git -C "$TOP" config user.name || true) email=$(git -C "$TOP" config user.email || true)
	if [ -z "$name" ] || [ -z "$email" ]; then
		die "git does not know who you are: set user.name and user.email with git config --global, for your Signed-off-by"
	fi
	# get_maintainer.pl sorts equal entries in the order of Perl's hashes, which is random.
	export PERL_HASH_SEED=0 PERL_PERTURB_KEYS=0
	command -v b4 >/dev/null || die "no b4: run scripts/lab setup send"
	[ -r "$COVER" ] || die "no $COVER: a series needs a letter"
	stack=$(pick_topic "$TOPIC" | cut -d' ' -f2)
	count=$(series ${TOPIC:+"$TOPIC"} | wc -l)
	[ -n "$TOPIC" ] || fields+=(base)
	[ "$count" = 1 ] || fields+=(Subject)
	for field in "${fields[@]}"; do
		[ -n "$(letter_field "$field" "$COVER")" ] || die "$COVER must have a line '$field: ' at its start"
	done
	last=$(last_sent "$MAIL_ID")
	MAIL_VERSION=$((${last:-0} + 1))
	if [ "$MAIL_VERSION" -gt 1 ] && ! sed '1,/^---$/d' "$COVER" | grep -q "^Changes in v$MAIL_VERSION:"; then
		die "v$last was sent: add 'Changes in v$MAIL_VERSION:' and what is new to $COVER, below a line '---'"
	fi

	MAIL_REPO=$LAB_DIR/send/$MAIL_ID
	commit=${stack%%$'\n'*}
	fork=$(tail -n $((count + 1)) <<<"$stack" | sed -n 1p)
	sparse_repo "$MAIL_REPO" "$fork"
	configure_mail_repo "$name" "$email"
	tip=$fork
	for c in $(tail -n "$count" <<<"$stack"); do
		tip=$(sign_off "$c" "$tip" "$name" "$email")
	done
	# b4 puts the name of the branch into message ids and tags.
	mail_git checkout -q -b oom-reaper "$tip" 2>"$TMP/err" || die "cannot write to $MAIL_REPO: $(tail -n 1 "$TMP/err")"

	write_template "$commit" "$fork"
	write_cover
	[ "$MAIL_VERSION" = 1 ] || write_range_diff "$last" "$fork" "${stack##*$'\n'}"
	enroll
	say "v$MAIL_VERSION of $MAIL_ID, $(mail_git rev-list --count base..oom-reaper) patches, from $name <$email>"
}

mail_git() {
	lab_git -C "$MAIL_REPO" "$@"
}

# configure_mail_repo NAME EMAIL: overrides the user's settings of b4 that would change the
# patches. Full blob ids let others find the base.
configure_mail_repo() {
	local excluded key value get
	get="'$LIB/get-maintainer' --nogit --nogit-fallback --nogit-chief-penguins --norolestats"
	excluded=$(git -C "$TOP" config b4.email-exclude || true)
	while read -r key value; do
		mail_git config "$key" "$value"
	done <<EOF
user.name $1
user.email $2
core.abbrev 40
diff.renames false
b4.prep-cover-strategy branch-description
b4.prep-cover-template $MAIL_REPO/.git/cover-template
b4.prep-pre-flight-checks disable-all
b4.send-auto-to-cmd $get --nol
b4.send-auto-cc-cmd $get --nom
b4.email-exclude $PROJECT_EMAIL${excluded:+,$excluded}
EOF
}

# sign_off COMMIT PARENT NAME EMAIL: makes a copy of COMMIT on PARENT with that
# Signed-off-by, and prints its id.
sign_off() {
	local author_name author_email author_date
	{ read -r author_name; read -r author_email; read -r author_date; } < <(
		mail_git log -1 --format='%an%n%ae%n%aD' "$1")
	mail_git log -1 --format=%B "$1" |
		mail_git -c trailer.ifexists=addIfDifferent interpret-trailers --trailer "Signed-off-by: $3 <$4>" |
		GIT_AUTHOR_NAME=$author_name GIT_AUTHOR_EMAIL=$author_email GIT_AUTHOR_DATE=$author_date \
			GIT_COMMITTER_NAME=$3 GIT_COMMITTER_EMAIL=$4 GIT_COMMITTER_DATE=$author_date \
			mail_git commit-tree -p "$2" "$1^{tree}"
}

# write_template COMMIT FORK: writes b4's template of the cover letter. COMMIT is the base, and
# the commits up to FORK are the patches that the topic needs.
write_template() {
	local bases topic last needed signature='-- '
	# Only a tree with real history has a base commit that others know. b4 0.12 would
	# print its parent.
	bases="base: $(letter_field base "$COVER")"
	[ -z "$TOPIC" ] || bases="base: $BASE_VERSION"$'\n'"tree: $(letter_field tree "$COVER")"
	[ -z "${KERNEL:-}" ] || bases+=$'\n'"base-commit: $1"
	if [ "$1" != "$2" ]; then
		# b4 0.12 does not write these.
		needed=$(needs "$TOPIC" | awk '!seen[$0]++')
		for topic in $needed; do
			last=$(last_sent "$topic")
			bases+=$'\n'"prerequisite-change-id: $(letter_field change-id "$TOP/topics/$topic.md"):v${last:-1}"
		done
		bases+=$'\n'$(mail_git log -p --reverse --no-color "$1..$2" | git patch-id --stable |
			sed 's/\([^ ]*\).*/prerequisite-patch-id: \1/')
	fi
	cat >"$MAIL_REPO/.git/cover-template" <<EOF
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
}

# write_cover: writes the text of the cover letter to $TMP/cover.
write_cover() {
	local lab
	# Where readers find the lab. A path on this machine is of no use to them.
	lab=$(git -C "$TOP" config remote.origin.url || true)
	case $lab in
	*://*@*) lab=${lab%%://*}://${lab#*@} ;;
	esac
	case $lab in
	https://* | http://* | git://*) ;;
	*) lab='(not published yet)' ;;
	esac
	# The part below "---" is not for the history.
	{
		letter_field Subject "$COVER" | grep . || mail_git log -1 --format=%s oom-reaper
		echo
		sed -e '1,/^$/d' -e "s,@LAB@,$lab," "$COVER" >"$TMP/body"
		sed '/^---$/,$d' "$TMP/body"
		[ "$MAIL_VERSION" = 1 ] || {
			echo ---
			sed '1,/^---$/d' "$TMP/body"
		}
	} >"$TMP/cover"
}

# write_range_diff LAST FORK TIP: appends to $TMP/cover what changed since version LAST. It
# applies the patches of that version, from its tag in this repository, to FORK. If one
# does not apply, it prints a warning, and appends nothing.
write_range_diff() {
	local last=$1 old=$2 tag=sent/$MAIL_ID-v$1 p
	local -x GIT_INDEX_FILE=$TMP/index
	mail_git read-tree "$2"
	for p in $(git -C "$TOP" show "$tag:${SERIES#"$TOP/"}" | of_series ${TOPIC:+"$TOPIC"}); do
		git -C "$TOP" show "$tag:${PATCHES#"$TOP/"}/$p" >"$TMP/patch"
		if ! mail_git apply --cached --3way "$TMP/patch" 2>"$TMP/err"; then
			say "warning: no range-diff against v$1, because its $p does not apply to $BASE_RELEASE: $(head -n 1 "$TMP/err")"
			return 0
		fi
		git mailinfo "$TMP/message" /dev/null <"$TMP/patch" >"$TMP/info"
		old=$({ sed -n 's/^Subject: //p' "$TMP/info"; echo; cat "$TMP/message"; } |
			mail_git commit-tree -p "$old" "$(mail_git write-tree)")
	done
	unset GIT_INDEX_FILE
	{
		echo
		echo "Range-diff against v$last ($(git -C "$TOP" for-each-ref --format='%(contents:subject)' "refs/tags/$tag")):"
		# Compare without the sign-offs of the sender.
		mail_git -c core.abbrev=12 range-diff --no-color --creation-factor=80 "$2..$old" "$2..$3"
	} >>"$TMP/cover"
}

b4_run() {
	(cd "$MAIL_REPO" && b4 --offline-mode --no-interactive "$@") >"$TMP/b4" 2>&1 </dev/null ||
		die "b4 $1 failed: $(grep -m1 -E 'CRITICAL|Error' "$TMP/b4" || tail -n 1 "$TMP/b4")"
}

# enroll: enrolls the branch with b4, with cover letter, version and recipients.
enroll() {
	local prefixes lists to cc
	prefixes="$(letter_field prefix "$COVER") ${PREFIXES:-}"
	[ "$BASE" = mainline ] || prefixes="$prefixes $BASE"
	b4_run prep --enroll base
	mail_git config branch.oom-reaper.description "$(cat "$TMP/cover")"
	mail_git config branch.oom-reaper.b4-tracking "$(mail_git config branch.oom-reaper.b4-tracking |
		sed -E "s/(\"change-id\": \")[^\"]*/\1$(letter_field change-id "$COVER")/")"
	# shellcheck disable=SC2086 # words
	[ -z "${prefixes// /}" ] || b4_run prep --set-prefixes $prefixes
	[ "$MAIL_VERSION" = 1 ] || b4_run prep --force-revision "$MAIL_VERSION"
	b4_run prep --auto-to-cc
	if [ -n "${TRAILERS:-}" ]; then
		b4_run trailers --update --use-local-mbox "$(realpath "$TRAILERS")"
		say "  trailers: $(grep -cE '^ +\+ ' "$TMP/b4" || true) taken from $TRAILERS"
	fi
	lists=$(mail_git config branch.oom-reaper.description | grep -cE '^(To|Cc): .*(linux-mm@kvack\.org|linux-kernel@vger\.kernel\.org)' || true)
	to=$(letter_field to "$COVER") cc=$(letter_field cc "$COVER")
	[ "$lists" = 2 ] || cc="linux-mm@kvack.org, linux-kernel@vger.kernel.org${cc:+, $cc}"
	[ -z "$to" ] || mail_git config b4.send-series-to "$to"
	[ -z "$cc" ] || mail_git config b4.send-series-cc "$cc"
}
