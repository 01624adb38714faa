#!/bin/sh
# enter.sh ROOT BINDS COMMAND …: run the command with ROOT as the root of everything, in namespaces that unshare just made.
# By pivot_root: after a chroot the kernel refuses user namespaces, and with them every sandbox.
# BINDS are words FOLDER:PLACE:ro or FOLDER:PLACE:rw, the place relative to ROOT.
set -eu
root=$1
binds=$2
shift 2
mount --bind "$root" "$root"
cd "$root"
# a whole /proc: a namespace in which a part of it is hidden may not mount one of its own
mount -t proc -o nosuid,nodev,noexec proc proc
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
mount -t tmpfs -o mode=0755,nosuid tmpfs dev
for node in null zero full random urandom tty; do
    : > "dev/$node"
    mount --bind "/dev/$node" "dev/$node"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
mount -t tmpfs -o mode=0755,nosuid,nodev tmpfs run
mkdir -m 1777 run/lock
for bind in $binds; do
    from=${bind%%:*}
    place=${bind#*:}
    mkdir -p "${place%:*}"
    mount --bind "$from" "${place%:*}"
    [ "${place##*:}" = rw ] || mount -o remount,bind,ro "${place%:*}"
done
hostname clean-room
pivot_root . .
# the old root lies on top of the new one until it is taken away
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
    sh -c 'umount -l . && cd / && exec "$@"' sh "$@"
