#!/bin/sh
# Second stage of the guest: PID 1 on the host's files. Creates the devices and runs the job.
# /run/rig/conf sets KVER, MODULES, CAMS, FTDI and MARK.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
B=/run/rig/busybox
. /run/rig/conf
$B ifconfig lo 127.0.0.1 up
$B hostname rig
mkdir -p "/lib/modules/$KVER"
mount --bind "$MODULES" "/lib/modules/$KVER"
# udevd gives permissions, /dev/serial/by-id and libusb's hot-plug events as on a real machine.
/lib/systemd/systemd-udevd --daemon 2>/dev/null

# A USB CDC-ACM board on a dummy host controller: /dev/ttyACM0 (host side), /dev/ttyGS0 (board).
# The second controller, dummy_udc.1, is free for gadgets that a test creates.
modprobe -a libcomposite usb_f_acm cdc_acm
modprobe dummy_hcd num=2
mount -t configfs configfs /sys/kernel/config
G=/sys/kernel/config/usb_gadget/board
mkdir -p $G/strings/0x409 $G/configs/c.1 $G/functions/acm.0
cd $G
echo 0x2341 >idVendor
echo 0x0043 >idProduct
echo 0x0001 >bcdDevice
echo 2 >bDeviceClass
echo "Arduino (www.arduino.cc)" >strings/0x409/manufacturer
echo "Arduino Uno" >strings/0x409/product
echo 75834353430351F0C1A1 >strings/0x409/serialnumber
ln -s functions/acm.0 configs/c.1/
echo dummy_udc.0 >UDC
$B stty -F /dev/ttyGS0 raw -echo

# vivid: CAMS capture-only webcams, time-stamped at the start of exposure as uvcvideo does.
types=
inputs=
counts=
i=0
while [ $i -lt "$CAMS" ]; do
    types=$types,0x1
    inputs=$inputs,0x0
    counts=$counts,1
    i=$((i + 1))
done
[ "$CAMS" = 0 ] || modprobe vivid n_devs="$CAMS" \
    node_types=${types#,} num_inputs=${counts#,} input_types=${inputs#,}
i=0
while [ $i -lt "$CAMS" ]; do
    v4l2-ctl -d /dev/video$i -c timestamp_source=1
    i=$((i + 1))
done

wait_for_device() { # wait_for_device NODE TRIES: polls every 50 ms
    n=0
    while [ ! -c "$1" ] && [ $n -lt "$2" ]; do
        $B usleep 50000
        n=$((n + 1))
    done
}
if [ "$FTDI" != 0 ]; then
    modprobe -a ftdi_sio xhci_pci
    wait_for_device /dev/ttyUSB0 40
fi
wait_for_device /dev/ttyACM0 100
udevadm settle

# Run the job with plain pipes for its output. The end marks show the host that all has arrived.
cd /
mkfifo /run/rig/o /run/rig/e
$B cat /run/rig/o >/dev/vport0p2 &
O=$!
$B cat /run/rig/e >/dev/vport0p3 &
E=$!
echo ready >/dev/vport0p4
# No & here: a background job would ignore SIGINT.
$B setsid /bin/sh /run/rig/job </dev/vport0p1 >/run/rig/o 2>/run/rig/e
RC=$?
for p in /proc/[0-9]*; do # a process that the job left behind would keep the pipes open
    p=${p#/proc/}
    case $p in 1 | "$O" | "$E") ;; *) kill -9 "$p" ;; esac
done 2>/dev/null
wait $O $E
printf %s "$MARK" >/dev/vport0p2
printf %s "$MARK" >/dev/vport0p3
echo exit $RC >/dev/vport0p4
while :; do $B sleep 60; done
