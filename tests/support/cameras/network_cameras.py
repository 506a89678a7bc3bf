"""Cameras of the network on loopback: MJPEG over HTTP, and an RTSP server of other people's."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import cv2
import numpy as np

_SERVE_RTSP = """
import asyncio, sys
from aio_rtsp_toolkit import server
asyncio.run(server.serve(sys.argv[1], "127.0.0.1", int(sys.argv[2])))
"""


class _Stream(BaseHTTPRequestHandler):
    """One JPEG after the other, for as long as the cable is in; frame n is all of brightness n."""

    server: MjpegCamera

    def do_GET(self) -> None:
        camera = self.server
        if not camera.plugged.is_set():
            self.send_error(503)
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        self.end_headers()
        due = time.monotonic()
        try:
            while camera.plugged.is_set():
                number = int((time.monotonic() - camera.began) * camera.rate)
                jpeg = camera.jpegs[number % len(camera.jpegs)]
                head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")
                due += 1 / camera.rate
                while camera.frozen.is_set() or time.monotonic() < due:
                    time.sleep(0.002)
        except OSError:  # the camera was closed at the other end
            pass

    def log_message(self, *_: object) -> None:
        pass


class MjpegCamera(ThreadingHTTPServer):
    """A network camera whose cable can be pulled (`plugged`), and that can freeze (`frozen`)."""

    daemon_threads = True

    def __init__(self, size: tuple[int, int] = (160, 120), rate: float = 50.0) -> None:
        super().__init__(("127.0.0.1", 0), _Stream)
        self.rate = rate
        self.began = time.monotonic()
        self.jpegs = [
            cv2.imencode(".jpg", np.full((size[1], size[0], 3), level, np.uint8))[1].tobytes()
            for level in range(256)
        ]
        self.plugged = threading.Event()
        self.plugged.set()
        self.frozen = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}/video.mjpeg"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.plugged.clear()
        self.frozen.clear()
        self.shutdown()
        self._thread.join()
        self.server_close()


class RtspCamera:
    """A clip in H.264, played for ever over RTSP by a process that can be killed and started."""

    def __init__(self, folder: Path, size: tuple[int, int] = (160, 120), rate: int = 50) -> None:
        self._folder = folder
        _write_clip(folder / "clip.mp4", size, rate)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"rtsp://127.0.0.1:{self.port}/clip.mp4?play_count=0"

    def start(self) -> None:
        """Start the server unless it runs; returns when it listens."""
        if self._process is not None:
            return
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVE_RTSP, str(self._folder), str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert time.monotonic() < deadline, "the RTSP server does not listen"
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """Let it vanish, as a camera whose cable is pulled."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()


def _write_clip(path: Path, size: tuple[int, int], rate: int) -> None:
    """Write ten seconds; each picture can be decoded without those before."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("h264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.gop_size, stream.max_b_frames = 1, 0
        stream.options = {"tune": "zerolatency", "preset": "ultrafast"}
        for number in range(10 * rate):
            pixels = np.full((size[1], size[0], 3), number % 256, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="bgr24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
