# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# apt with sources, lists and caches below LAB_DIR: this machine's own are not touched.
# APT_ARCH is Debian's name of an architecture, if it is not this machine's.

# lab_apt CMD ARG...: runs apt that way.
lab_apt() {
	local a=$LAB_DIR/apt${APT_ARCH:+-$APT_ARCH} cmd=$1
	local -a opts=(
		-o Dir::Etc::SourceList="$a/sources.list" -o Dir::Etc::SourceParts=/dev/null
		-o Dir::State="$a/state" -o Dir::State::status=/var/lib/dpkg/status
		-o Dir::Cache="$a/cache" -o Acquire::Retries=3 -o Acquire::Languages=none
	)
	# The user _apt may have no write access here.
	[ "$(id -u)" != 0 ] || opts+=(-o APT::Sandbox::User=root)
	[ -z "${APT_ARCH:-}" ] || opts+=(-o APT::Architecture="$APT_ARCH" -o APT::Architectures="$APT_ARCH")
	shift
	"$cmd" "${opts[@]}" "$@"
}

# debian_mirror: prints the mirror that this machine's apt uses for Debian itself.
debian_mirror() {
	local codename uri=
	codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	# shellcheck disable=SC2016 # apt's own format
	uri=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 2>/dev/null |
		awk -v r="$codename" '$1 == r && $2 == "main" && !found { print $3; found = 1 }') || true
	[ -n "$uri" ] || die "apt has no Debian mirror for $codename${APT_ELSE:+: $APT_ELSE}"
	echo "$uri"
}

# apt_set_up TYPE SUITE: sets up sources and lists for lab_apt; TYPE is "deb" or "deb-src".
# APT_ELSE is advice to print if there is no mirror.
apt_set_up() {
	local a=$LAB_DIR/apt${APT_ARCH:+-$APT_ARCH} log=$LOGS/apt.log mirror signed=''
	mirror=$(debian_mirror)
	mkdir -p "$a/state/lists/partial" "$a/cache/archives/partial"
	[ ! -f /usr/share/keyrings/debian-archive-keyring.gpg ] ||
		signed='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] '
	echo "$1 $signed$mirror $2 main" >"$a/sources.list"
	# apt-get update succeeds even if the mirror is unreachable.
	if ! progress "package lists of $2" "$log" lab_apt apt-get update ||
		grep -qE '^(E|Err|W: Failed)' "$log"; then
		die "cannot read $2 from this machine's Debian mirror (no network?): $(grep -m1 -E '^(E|W):' "$log" || tail -n 1 "$log")"
	fi
}
