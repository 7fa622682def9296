#!/bin/sh
# enter.sh FOLDER GIT SCRIPT: in new namespaces, mounts a machine's file systems, and runs SCRIPT with FOLDER as its root.
# The script starts in the folder in which the previous one ended.
set -eu
folder=$1 git=$2 script=$3
mount --make-rprivate /
mount --bind "$folder" "$folder"
cd "$folder"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mkdir -p mnt/weft.git run/lock
mount --bind "$git" mnt/weft.git
mount -o remount,bind,ro mnt/weft.git
/sbin/ip link set lo up
exec chroot . sh -euc 'cd "$(cat /root/.newcomer-folder)"
'"$script"'
pwd >/root/.newcomer-folder'
