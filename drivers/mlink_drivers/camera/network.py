"""Camera backend for network streams (RTSP, HTTP), decoded by FFmpeg (PyAV)."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from typing import Any

import av
from numpy.typing import NDArray

from mlink.errors import DeviceError
from mlink_drivers.camera.backend import (
    CameraInfo,
    CameraRequest,
    NoFrame,
    Stamp,
    shown_address,
)
from mlink_drivers.camera.decoding import Decoder, Pictures

UNCERTAINTY_USEC = 500_000
"""Usual bound of the unknown delay by encoder, network and decoder."""
_GRAB_SEC = 1.0
"""Longest wait of `grab`."""
_READ_MARGIN_SEC = 1.0
"""FFmpeg gives up later than the capture thread does, which knows the limit of silence."""
_WAITING_PACKETS = 64
_DEFAULT_RATE = 25.0
_OPTIONS = {
    "rtsp_transport": "tcp",  # pictures with lost packets are worse than late ones
    "fflags": "nobuffer",
    "flags": "low_delay",
    "fpsprobesize": "0",  # a slow camera would be probed for many of its frames
    "analyzeduration": "2000000",
}


class NetworkCamera:
    """Plays rtsp://…, http://… and https://…; see CameraBackend for the contract.

    A frame's time is that of its arrival, since streams do not carry the time of the exposure. A
    thread of its own receives, so that frames are stamped when they come, and no wait of FFmpeg's
    delays the end of a run.
    """

    def __init__(self) -> None:
        self._shown = ""
        self._read_sec = 0.0
        """FFmpeg gives up when nothing came for this long."""
        self._arrived: queue.Queue[tuple[int, Any] | str] = queue.Queue(_WAITING_PACKETS)
        """(Arrival in ns, packet), and at the end why there are no more."""
        self._closed = threading.Event()
        self._decoder: Decoder | None = None
        self._arrays: Pictures | None = None
        self._decoded: deque[tuple[int, Any]] = deque()

    def open(self, address: str, request: CameraRequest) -> CameraInfo:
        """Connect and decode the first picture.

        Raises:
            DeviceError: No picture came in time.
        """
        self._shown = shown_address(address)
        limit_sec = request.open_timeout_sec
        options = {key: value for key, value in _OPTIONS.items()
                   if key != "rtsp_transport" or address.startswith("rtsp")}  # fmt: skip
        deadline = time.monotonic() + limit_sec
        picture = None
        reason = ""
        try:
            self._read_sec = request.silence_sec + _READ_MARGIN_SEC
            container = av.open(address, options=options, timeout=(limit_sec, self._read_sec))
        except (av.FFmpegError, OSError, ValueError) as error:
            reason = _words(error)
        else:
            rate = self._begin(container)
            while picture is None and not reason and time.monotonic() < deadline:
                got = self._take(max(0.0, deadline - time.monotonic()))
                reason = (got or "it has ended") if isinstance(got, str) else ""
                picture = next((p for _, p in self._decoded if p is not None), None)
        if picture is None:
            self.close()
            raise DeviceError(
                f"no picture came from {self._shown} within {limit_sec:g} s"
                + (f": {reason}" if reason else ""),
                remedy="Check address, password and cables; try whether "
                f"`ffplay '{self._shown}'` plays it. For a slow camera set open_timeout.",
            )
        self._arrays = Pictures(
            picture, self._shown, "Do not change the camera's size during a run."
        )
        self._decoded.clear()
        return CameraInfo(
            shape=self._arrays.layout.shape,
            dtype=self._arrays.layout.dtype.newbyteorder("="),
            bits=self._arrays.layout.bits,
            framerate=request.framerate if request.framerate_given else rate,
            timestamp_source="arrival",
            uncertainty_usec=UNCERTAINTY_USEC,
            steady=False,
        )

    def start(self) -> None:
        """Discard the frames that have arrived since `open`."""
        while self._arrived.qsize() and self._take(0.0) is True:
            pass
        self._decoded.clear()

    def grab(self) -> Stamp | NoFrame:
        """Wait for a frame, at most 1 s.

        Raises:
            DeviceError: The stream ended or its connection failed.
        """
        deadline = time.monotonic() + _GRAB_SEC
        while not self._decoded:
            got = self._take(max(0.0, deadline - time.monotonic()))
            if got is None:
                return NoFrame.TIMEOUT
            if isinstance(got, str):
                raise DeviceError(
                    f"{self._shown} has ended, or nothing came for {self._read_sec:g} s"
                    + (f" ({got})" if got else ""),
                    remedy='Check the network; on_loss = "continue" lets a run wait for it.',
                )
        arrival_ns, picture = self._decoded.popleft()
        assert self._arrays is not None
        self._arrays.grab(picture)
        return Stamp(arrival_ns)

    def retrieve(self, into: NDArray[Any]) -> bool:
        """Decode into `into`; False if the picture is damaged.

        Raises:
            DeviceError: The camera has changed its size.
        """
        assert self._arrays is not None
        return self._arrays.retrieve(into)

    def close(self) -> None:
        """Close the connection: its thread does so, at the latest when a read times out."""
        self._closed.set()

    def _begin(self, container: Any) -> float:
        """Start the thread that receives; return FFmpeg's guess of the rate in Hz."""
        stream = container.streams.video[0] if container.streams.video else None
        rate = float((stream and (stream.average_rate or stream.guessed_rate)) or 0)
        self._decoder = Decoder(stream) if stream is not None else None
        threading.Thread(
            target=self._receive, args=(container, stream), name="network", daemon=True
        ).start()
        # For streams without a rate FFmpeg returns its time base.
        return rate if 0 < rate < 1000 else _DEFAULT_RATE

    def _receive(self, container: Any, stream: Any) -> None:
        why = "" if stream is not None else "it has no video"
        try:
            for packet in container.demux(stream) if stream is not None else ():
                if self._closed.is_set():
                    return
                if packet.size:
                    self._put((time.monotonic_ns(), packet))
        except (av.FFmpegError, OSError) as error:
            why = _words(error)
        finally:
            self._put(why)
            container.close()

    def _put(self, item: tuple[int, Any] | str) -> None:
        """Hand over what arrived; a full queue slows the sender down, nothing is dropped."""
        while not self._closed.is_set():
            try:
                self._arrived.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def _take(self, timeout_sec: float) -> bool | str | None:
        """Decode the next packet.

        Returns:
            True, the reason why there are no more packets, or None when none came in time.
        """
        try:
            got = self._arrived.get(timeout=timeout_sec)
        except queue.Empty:
            return None
        if isinstance(got, str):
            return got
        arrival_ns, packet = got
        assert self._decoder is not None
        for number, picture in enumerate(self._decoder.decode(packet)):  # times have to increase
            self._decoded.append((arrival_ns + 1000 * number, picture))
        return True


def _words(error: Exception) -> str:
    """Return why a stream ended; "" for FFmpeg's end of its wait, "Immediate exit requested"."""
    if isinstance(error, av.ExitError):
        return ""
    return str(getattr(error, "strerror", None) or type(error).__name__)
