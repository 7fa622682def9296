# Sourced by hack/setup: packages of another Debian suite, without touching the machine's apt. A scratch configuration is
# made from the machine's own sources, whichever format they are in, so that its mirror and its proxies are used.

scratch=$cache/apt

debian_major() {
	# shellcheck disable=SC1091
	version=$(. /etc/os-release && printf '%s' "${VERSION_ID:-}")
	# Testing and unstable have no number.
	printf '%s' "${version:-99}"
}

# The first Debian archive (not security, not updates of somebody else) that the machine itself uses. Cloud images name a
# list of mirrors: mirror+file:///etc/apt/mirrors/debian.list.
machine_archive() {
	{
		for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
			[ -r "$file" ] && sed -n 's/^deb[[:space:]]\{1,\}\(\[[^]]*\][[:space:]]*\)\{0,1\}\([^[:space:]]*\).*/\2/p' "$file"
		done
		for file in /etc/apt/sources.list.d/*.sources; do
			[ -r "$file" ] && sed -n 's/^URIs:[[:space:]]*\([^[:space:]]*\).*/\1/p' "$file"
		done
	} | grep -E '/debian(/|\.list)?$' | head -n 1
}

keyring() {
	for file in /usr/share/keyrings/debian-archive-keyring.gpg /usr/share/keyrings/debian-archive-keyring.pgp; do
		[ -r "$file" ] && printf '%s' "$file" && return 0
	done
	return 1
}

# scratch_apt SUITE deb|deb-src: prepares apt_scratch for that suite. Returns 1 where it cannot: some callers do without.
scratch_apt() {
	archive=$(machine_archive)
	[ -n "$archive" ] || {
		printf 'setup: no Debian archive is named in /etc/apt/sources.list or /etc/apt/sources.list.d: add one, or set QUICKJS_DIR\n' >&2
		return 1
	}
	keys=$(keyring) || {
		printf 'setup: the keys of the Debian archive are missing: install the package debian-archive-keyring\n' >&2
		return 1
	}
	rm -rf "$scratch"
	mkdir -p "$scratch/lists/partial" "$scratch/cache/archives/partial" "$scratch/parts"
	printf '%s [signed-by=%s] %s %s main\n' "$2" "$keys" "$archive" "$1" >"$scratch/sources.list"
	apt_scratch update >"$scratch/update.log" 2>&1 && ! grep -q '^[EW]: .*\(NO_PUBKEY\|Failed to fetch\)' "$scratch/update.log" || {
		tail -n 5 "$scratch/update.log" >&2
		printf 'setup: the suite %s cannot be read from the machine'"'"'s Debian archive\n' "$1" >&2
		return 1
	}
}

apt_scratch() {
	apt-get -o "Dir::Etc::sourcelist=$scratch/sources.list" -o "Dir::Etc::sourceparts=$scratch/parts" \
		-o "Dir::State::lists=$scratch/lists" -o "Dir::Cache=$scratch/cache" -o APT::Sandbox::User=root "$@"
}

# in_folder DIR COMMAND...: runs it there.
in_folder() (
	cd "$1"
	shift
	"$@"
)
