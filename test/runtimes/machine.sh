# Makes a machine for container runtimes from the namespaces it runs in (mounts, processes, network). The root file system is
# the runtimes', all written files are in memory, and the plugins are where a node has them. Ends with its standard input.
#   machine.sh RUNTIMES ROOT PLUGINS
set -eu
runtimes=$1 root=$2 plugins=$3
mount -t tmpfs tmpfs "$root"
cd "$root"
for folder in usr bin sbin lib lib64; do
	mkdir "$folder"
	mount --bind "$runtimes/$folder" "$folder"
	mount -o remount,bind,ro "$folder"
done
mkdir -p proc sys dev run/netns tmp var/lib var/tmp opt/cni/bin rootfs/bin rootfs/srv machine
cp -a "$runtimes/etc" etc
rm -rf etc/cni/net.d
mkdir -p etc/cni/net.d
echo 'root:x:0:0:root:/:/bin/sh' >etc/passwd
echo 'root:x:0:' >etc/group
echo '127.0.0.1 localhost' >etc/hosts
: >etc/resolv.conf
cp -a "$plugins/." opt/cni/bin/
# The containers' programs.
echo welcome >rootfs/srv/index.html
cp bin/busybox rootfs/bin/
for applet in httpd ip nc ping sh sleep; do
	ln -s busybox "rootfs/bin/$applet"
done
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind /sys/fs/cgroup sys/fs/cgroup
mount --rbind /dev dev
mount -t tmpfs tmpfs dev/shm
pivot_root . machine
busybox umount -l /machine
busybox rmdir /machine
echo ready
busybox cat
