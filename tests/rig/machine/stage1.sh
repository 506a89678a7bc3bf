#!/bin/busybox sh
# First stage of the guest, run from the initramfs: builds the root file system.
# The host's files (9p, read-only) lie below a tmpfs that takes all writes.
export PATH=/bin
/bin/busybox mkdir -p /proc /sys /dev /lower /rw /new
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in $(cat /mod/order); do insmod "/mod/$module"; done
options=trans=virtio,version=9p2000.L,msize=512000
mount -t 9p -o "ro,$options,cache=loose" root /lower || poweroff -f
mount -t tmpfs -o mode=755 rw /rw
mkdir /rw/up /rw/work
mount -t overlay -o lowerdir=/lower,upperdir=/rw/up,workdir=/rw/work,xino=off root /new
mkdir -p /new/proc /new/sys /new/dev /new/run
for folder in proc sys dev; do mount --move /$folder /new/$folder; done
mount -t tmpfs -o mode=755 run /new/run
mkdir /new/run/rig
mkdir -p /new/dev/pts /new/dev/shm
mount -t devpts -o mode=620,ptmxmode=666 pts /new/dev/pts
mount -t tmpfs shm /new/dev/shm
number=0
while IFS= read -r folder; do
    mkdir -p "/new$folder"
    mount -t 9p -o "rw,$options,cache=mmap" rw$number "/new$folder"
    number=$((number + 1))
done </rwdirs
cp /bin/busybox /stage2 /job /conf /new/run/rig/
exec switch_root /new /run/rig/stage2
