"""One guest: QEMU's process, the ports to it, and the life of the command in it."""

from __future__ import annotations

import argparse
import ctypes
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import initramfs
from kernel import report
from streams import copy_input, copy_output

TIMED_OUT = 124
RIG_FAILED = 125
_PR_SET_PDEATHSIG = 1
_STDIN, _STDOUT, _STDERR, _CONTROL, _CONSOLE, _MONITOR = range(6)


class Guest:
    """A guest that runs one command; `run` starts it, and ends it in any case."""

    def __init__(self, kernel: Path, options: argparse.Namespace) -> None:
        self._started = time.monotonic()
        self._options = options
        self._mark = secrets.token_hex(16)
        self._status: int | None = None
        self._console: list[str] = []
        settings = {
            "CAMS": options.cameras,
            "FTDI": int(options.ftdi is not None),
            "MARK": self._mark,
        }
        archive = initramfs.build(kernel, options.command, options.rw, settings)
        pairs = [socket.socketpair() for _ in range(6)]
        self._ports = [ours for ours, _ in pairs]
        self._process = self._start(kernel, archive, [theirs for _, theirs in pairs])
        for _, theirs in pairs:
            theirs.close()

    def _start(
        self, kernel: Path, archive: bytes, ports: list[socket.socket]
    ) -> subprocess.Popen[bytes]:
        initrd = os.memfd_create("initramfs")
        try:
            os.write(initrd, archive)
            libc = ctypes.CDLL(None)
            return subprocess.Popen(
                _qemu_command(kernel, initrd, ports, self._options),
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr,
                start_new_session=True,
                pass_fds=[initrd, *(port.fileno() for port in ports)],
                # QEMU ends with us, even when we are killed.
                preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
            )
        finally:
            os.close(initrd)

    def run(self) -> int:
        """Wait for the command's end; return its status, TIMED_OUT or RIG_FAILED."""
        log = self._thread(self._read_console)
        waited_for = [
            self._thread(partial(self._read_output, _STDOUT, 1)),
            self._thread(partial(self._read_output, _STDERR, 2)),
            self._thread(self._read_control),
        ]
        try:
            if not self._join(waited_for):
                report(f"timed out after {self._options.timeout:g} s")
                return TIMED_OUT
        finally:
            self._quit()
        if self._status is None:
            log.join(1)
            report(
                "the guest ended early; the end of its console:\n" + "".join(self._console[-30:])
            )
            return RIG_FAILED
        return self._status

    def _thread(self, target: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=target, daemon=True)
        thread.start()
        return thread

    def _join(self, threads: list[threading.Thread]) -> bool:
        """Return whether all of the threads have ended within the time-out."""
        limit = self._options.timeout
        for thread in threads:
            left = None if limit is None else max(0, self._started + limit - time.monotonic())
            thread.join(left)
            if thread.is_alive():
                return False
        return True

    def _quit(self) -> None:
        try:
            # An orderly end, so that QEMU removes a socket that it made for --ftdi.
            self._ports[_MONITOR].sendall(b"quit\n")
            self._process.wait(5)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()

    def _read_console(self) -> None:
        for line in self._ports[_CONSOLE].makefile(errors="replace"):
            self._console.append(line)
            if self._options.verbose:
                sys.stderr.write(f"[guest] {line}")

    def _read_output(self, port: int, descriptor: int) -> None:
        try:
            copy_output(self._ports[port], descriptor, self._mark.encode())
        except BrokenPipeError:  # our reader is gone: end as the command would, by SIGPIPE
            self._status = 128 + signal.SIGPIPE
            self._process.kill()

    def _read_control(self) -> None:
        for line in self._ports[_CONTROL].makefile():
            if line.startswith("ready"):
                if self._options.verbose:
                    elapsed = time.monotonic() - self._started
                    report(f"the command starts {elapsed:.2f} s after the launch")
                self._thread(partial(copy_input, self._ports[_STDIN]))
            elif line.startswith("exit "):
                self._status = int(line.split()[1])
                return


def _qemu_command(
    kernel: Path, initrd: int, ports: list[socket.socket], options: argparse.Namespace
) -> list[str]:
    quiet = "" if options.verbose else "quiet "
    share = "local,security_model=none,multidevs=remap"
    command = ["/usr/bin/qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi"]
    command += ["-cpu", "max", "-smp", str(options.cpus), "-m", options.memory]
    command += ["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]
    command += ["-kernel", str(kernel / "vmlinux"), "-initrd", f"/proc/self/fd/{initrd}"]
    parameters = f"console=ttyS0 panic=-1 mitigations=off tsc=reliable {quiet}{options.append}"
    command += ["-append", parameters]
    command += ["-serial", f"chardev:p{_CONSOLE}", "-monitor", f"chardev:p{_MONITOR}"]
    command += ["-device", "virtio-serial-pci"]
    command += ["-fsdev", f"{share},id=root,path=/,readonly=on"]
    command += ["-device", "virtio-9p-pci,fsdev=root,mount_tag=root"]
    for number, port in enumerate(ports):
        command += ["-chardev", f"socket,id=p{number},fd={port.fileno()}"]
        if number <= _CONTROL:
            command += ["-device", f"virtserialport,nr={number + 1},chardev=p{number}"]
    for number, folder in enumerate(options.rw):
        path = os.path.realpath(folder).replace(",", ",,")
        command += ["-fsdev", f"{share},id=rw{number},path={path}"]
        command += ["-device", f"virtio-9p-pci,fsdev=rw{number},mount_tag=rw{number}"]
    if options.ftdi:
        command += ["-device", "qemu-xhci", "-chardev", f"{options.ftdi},id=ftdi"]
        command += ["-device", "usb-serial,chardev=ftdi"]
    return command
