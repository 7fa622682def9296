# Sourced by hack/setup: fetches packages of another Debian suite without changing the machine's apt configuration. It
# generates a scratch configuration from the machine's own sources, in either format, so that the machine's mirror,
# proxies and keys are used.

# shellcheck disable=SC2154
scratch=$cache/apt

# release_field NAME: prints a field of /etc/os-release, which is a shell script.
release_field() (
	# shellcheck disable=SC1091
	. /etc/os-release
	eval "printf '%s' \"\${$1:-}\""
)

# without_comments FILE...: prints the lines of the files, with an empty line after each file. Missing files are
# skipped.
without_comments() {
	for file in "$@"; do
		[ ! -r "$file" ] || { sed '/^#/d' "$file" && echo; }
	done
}

# list_sources FOLDER: prints the sources in FOLDER (such as /etc/apt; sources.list(5)), one line for each: address,
# suites, components and keys, separated by tabs.
list_sources() {
	without_comments "$1/sources.list" "$1"/sources.list.d/*.list | awk -v OFS='\t' '
		$1 == "deb" {
			keys = ""
			if (match($0, /\[[^]]*\]/)) {
				options = substr($0, RSTART + 1, RLENGTH - 2)
				$0 = substr($0, 1, RSTART - 1) substr($0, RSTART + RLENGTH)
				if (match(options, /signed-by=[^ ]*/)) keys = substr(options, RSTART + 10, RLENGTH - 10)
			}
			components = ""
			for (i = 4; i <= NF && $i !~ /^#/; i++) components = components " " $i
			print $2, $3, components, keys
		}'
	without_comments "$1"/sources.list.d/*.sources | awk -v RS='' -v FS='\n' -v OFS='\t' '
		{
			split("", field)
			for (i = 1; i <= NF; i++)
				if ($i ~ /^[ \t]/) field[name] = field[name] " " $i
				else {
					colon = index($i, ":")
					name = tolower(substr($i, 1, colon - 1))
					field[name] = substr($i, colon + 1)
				}
			if (tolower(field["enabled"]) ~ /no|false|off|0/) next
			gsub(/[ \t]+/, " ", field["suites"])
			gsub(/[ \t]+/, " ", field["components"])
			gsub(/[ \t]/, "", field["signed-by"])
			count = split(field["uris"], address, /[ \t]+/)
			for (i = 1; i <= count; i++)
				if (address[i] != "") print address[i], field["suites"], field["components"], field["signed-by"]
		}'
}

# debian_archives FOLDER RELEASE: prints sources that may be the Debian archive: sources of this release with Debian's
# main component. Each line is "ADDRESS KEYS", with "-" for no keys. The most likely address comes first, since other
# publishers have sources for the same releases. Cloud images use a list of mirrors:
# mirror+file:///etc/apt/mirrors/debian.list.
debian_archives() {
	list_sources "$1" | awk -F '\t' -v release="$2" '
		{
			found = 0
			count = split($2, suite, " ")
			for (i = 1; i <= count; i++)
				if (suite[i] == release || suite[i] ~ /^(oldstable|stable|testing|unstable|sid)$/) found = 1
			if (found && (" " $3 " ") ~ / main / && !seen[$1]++)
				print ($1 ~ /\/debian(\/|\.list)?$/ ? 1 : 2), $1, ($4 ~ /^\// ? $4 : "-")
		}' | sort -s -k 1,1 | cut -d ' ' -f 2-
}

# Prints the source's keys and Debian's own. Without any, apt uses its trusted keys.
signed_by() {
	keys=$1
	[ "$keys" != - ] || keys=
	for file in /usr/share/keyrings/debian-archive-keyring.gpg /usr/share/keyrings/debian-archive-keyring.pgp; do
		[ ! -r "$file" ] || [ "$file" = "$keys" ] || keys="${keys:+$keys,}$file"
	done
	[ -z "$keys" ] || printf '[signed-by=%s] ' "$keys"
}

# scratch_apt SUITE deb|deb-src PACKAGE: prepares apt_scratch for that package, from the first archive that has it.
scratch_apt() {
	rm -rf "$scratch"
	mkdir -p "$scratch/parts"
	debian_archives /etc/apt "$(release_field VERSION_CODENAME)" >"$scratch/archives"
	[ -s "$scratch/archives" ] || {
		warn "found no Debian archive of this release in /etc/apt/sources.list or /etc/apt/sources.list.d"
		return 1
	}
	while read -r archive keys; do
		rm -rf "$scratch/lists" "$scratch/cache"
		mkdir -p "$scratch/lists/partial" "$scratch/cache/archives/partial"
		printf '%s %s%s %s main\n' "$2" "$(signed_by "$keys")" "$archive" "$1" >"$scratch/sources.list"
		apt_scratch get update >"$scratch/update.log" 2>&1 </dev/null || continue
		case $2 in
		deb) apt_scratch cache madison "$3" ;;
		deb-src) apt_scratch cache showsrc "$3" ;;
		esac </dev/null 2>>"$scratch/update.log" | grep -q . && return 0
	done <"$scratch/archives"
	tail -n 5 "$scratch/update.log" >&2
	if grep -q 'NO_PUBKEY\|not signed' "$scratch/update.log"; then
		warn "this machine has no key for Debian's suite $1; upgrade the package debian-archive-keyring"
	else
		warn "the machine's Debian archive does not provide $3 of the suite $1"
	fi
	return 1
}

# apt_scratch get|cache ARGUMENT...: runs apt-get or apt-cache with the scratch configuration, for packages of
# scratch_arch if it is set.
apt_scratch() {
	tool=apt-$1
	shift
	arch_option=${scratch_arch:+APT::Architecture=$scratch_arch}
	"$tool" ${arch_option:+-o "$arch_option" -o "APT::Architectures::=$scratch_arch"} -o "Dir::Etc::sourcelist=$scratch/sources.list" -o "Dir::Etc::sourceparts=$scratch/parts" \
		-o "Dir::State::lists=$scratch/lists" -o "Dir::Cache=$scratch/cache" -o APT::Sandbox::User=root "$@"
}

# apt_in_turn ARGUMENT...: runs the machine's apt-get. Retries for ten minutes while another apt-get holds its locks,
# such as a person's or unattended upgrades. Prints a message to descriptor 3, if it is open, while it waits.
apt_in_turn() {
	tries=${APT_TRIES:-300}
	while :; do
		status=0
		output=$(LC_ALL=C DEBIAN_FRONTEND=noninteractive apt-get "$@" 2>&1 </dev/null) || status=$?
		printf '%s\n' "$output"
		case $status$output in
		0*) return 0 ;;
		*"Could not get lock"* | *"Unable to lock"* | *"Unable to acquire the dpkg frontend lock"*) ;;
		*) return "$status" ;;
		esac
		[ "$tries" != "${APT_TRIES:-300}" ] || { printf 'setup: waiting for another apt-get to finish ...\n' >&3; } 2>/dev/null || :
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || return "$status"
		sleep "${APT_PAUSE:-2}"
	done
}

# in_folder DIR COMMAND...: runs the command in that folder.
in_folder() (
	cd "$1" || exit
	shift
	"$@"
)
