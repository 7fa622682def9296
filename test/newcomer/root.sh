#!/bin/sh
# root.sh SUITE TARBALL FOLDER: makes debootstrap's root of a Debian suite in FOLDER, and saves it in TARBALL for the next
# run. Uses the machine's package archive.
set -eu
suite=$1 tarball=$2 folder=$3
root=$(CDPATH='' cd "$(dirname "$0")/../.." && pwd)
warn() { printf 'newcomer: %s\n' "$*" >&2; }
cache=$folder
. "$root/hack/apt.sh"

# Permissions of a root folder: apt downloads as another user.
chmod 755 "$folder"
if [ ! -e "$tarball" ]; then
	debian_archives /etc/apt "$(release_field VERSION_CODENAME)" | head -n 1 >"$folder.archive"
	read -r archive _ <"$folder.archive"
	rm -f "$folder.archive"
	debootstrap --variant=minbase "$suite" "$folder" "$archive" >"$folder.log" 2>&1 || {
		tail -n 20 "$folder.log" >&2
		exit 1
	}
	rm -f "$folder.log"
	printf 'deb %s %s main\n' "$archive" "$suite" >"$folder/etc/apt/sources.list"
	for file in /etc/apt/apt.conf.d/*; do
		# Only the settings to reach the archive: those of other packages would call programs that are missing here.
		! grep -q '^Acquire' "$file" || cp "$file" "$folder/etc/apt/apt.conf.d/"
	done
	tar -C "$folder" -cf "$tarball.new" .
	mv "$tarball.new" "$tarball"
	exit 0
fi
tar -C "$folder" -xf "$tarball"
