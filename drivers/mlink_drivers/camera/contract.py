"""Tests of the contract `CameraBackend`, for every camera backend.

For your own backend, in pytest:

    from mlink_drivers.camera.contract import CHECKS, Subject

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_my_camera_keeps_the_contract(check):
        check(Subject(MyCamera, "my:1", CameraRequest(framerate=30), absent="my:none"))

Each check opens the camera, grabs a few frames and closes it; an AssertionError names the broken
promise. The camera must be present and deliver frames without a trigger.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from mlink.errors import DeviceError
from mlink_drivers.camera.backend import (
    Adjustable,
    CameraBackend,
    CameraInfo,
    CameraRequest,
    NoFrame,
    Stamp,
)

_GUARD = 4096
"""Bytes before and after a picture that must stay as they are."""
_UNTOUCHED = 0xA5
_LONGEST_GRAB_SEC = 1.5
"""The contract has "about 1 s"."""
_LONGEST_SILENCE_SEC = 5.0


@dataclass(frozen=True, slots=True)
class Subject:
    """The backend to check, and a camera for it."""

    make: Callable[[], CameraBackend]
    address: str
    request: CameraRequest = field(default_factory=CameraRequest)
    absent: str = ""
    """An address of this backend at which there is no camera; empty: not checked."""

    @contextmanager
    def opened(self) -> Iterator[tuple[CameraBackend, CameraInfo]]:
        """Open the camera for a `with` block, and close it afterwards."""
        backend = self.make()
        try:
            yield backend, backend.open(self.address, self.request)
        finally:
            backend.close()


Check = Callable[[Subject], None]


def a_backend_has_the_five_methods(subject: Subject) -> None:
    """A backend is made without arguments, and has the methods that the runtime calls."""
    backend = subject.make()
    for method in ("open", "start", "grab", "retrieve", "close"):
        assert callable(getattr(backend, method, None)), f"there is no method {method}()"


def opening_tells_what_will_come(subject: Subject) -> None:
    """`open` returns a valid shape, type and rate, and the origin of the time stamps.

    Shapes are (height, width) or (height, width, channels), pixels of 8 or 16 bits; a rate that is
    not known is 0.
    """
    with subject.opened() as (_, info):
        assert len(info.shape) in (2, 3), f"a picture has 2 or 3 dimensions, not {info.shape}"
        assert info.dtype in (np.uint8, np.uint16), f"pixels are of 8 or 16 bits: {info.dtype}"
        assert 0 <= info.bits <= 8 * info.dtype.itemsize, f"they have {info.bits} used bits"
        assert info.framerate >= 0, "a rate that is not known is 0"
        assert info.timestamp_source, "timestamp_source names the origin of the stamps"
        assert info.uncertainty_usec >= 0, "uncertainty_usec is a number of µs"


def frames_are_written_in_place(subject: Subject) -> None:
    """`retrieve` fills the array it is given, and no memory around it."""
    with subject.opened() as (backend, info):
        size = int(np.prod(info.shape)) * info.dtype.itemsize
        memory = np.full(size + 2 * _GUARD, _UNTOUCHED, np.uint8)
        into = memory[_GUARD:-_GUARD].view(info.dtype).reshape(info.shape)
        backend.start()
        for _ in range(3):
            memory[_GUARD:-_GUARD] = _UNTOUCHED
            next_frame(backend)
            assert backend.retrieve(into) is True, "retrieve() returns True for a good picture"
            assert (memory[_GUARD:-_GUARD] != _UNTOUCHED).any(), "nothing was written to `into`"
        beside = np.concatenate((memory[:_GUARD], memory[-_GUARD:]))
        assert (beside == _UNTOUCHED).all(), "memory beside `into` was written to"


def stamps_are_of_the_run_and_increase_strictly(subject: Subject) -> None:
    """Stamps are on CLOCK_MONOTONIC, increase, and are not in the future.

    Stamps before `start` are allowed, for frames that waited in the driver.
    """
    with subject.opened() as (backend, info):
        time.sleep(0.05)
        before_ns = time.monotonic_ns()
        backend.start()
        stamps = _since(backend, before_ns, 10)
        after_ns = time.monotonic_ns()
    times = [stamp.time_ns for stamp in stamps]
    assert all(later > earlier for earlier, later in pairwise(times)), f"times go back: {times}"
    period_nsec = 1e9 / info.framerate if info.framerate else 0
    assert times[-1] <= after_ns + 2 * period_nsec, "a stamp lies in the future"
    numbers = [stamp.number for stamp in stamps]
    assert numbers == [-1] * 10 or numbers == sorted(set(numbers)), f"no numbers: {numbers}"


def what_waited_before_the_start_is_not_taken_for_new(subject: Subject) -> None:
    """Frames that were queued since `open` are discarded, or their stamps show their age.

    Checked for live sources with a known rate: seven new frames need at least three periods.
    """
    with subject.opened() as (backend, info):
        if not (info.live and info.framerate):
            return
        time.sleep(0.3)
        before_ns = time.monotonic_ns()
        backend.start()
        _since(backend, before_ns, 7)
        elapsed_sec = (time.monotonic_ns() - before_ns) / 1e9
        # Network streams rarely report their true rate, so half of it is enough.
        assert elapsed_sec > 3 / info.framerate, "frames of the time before the start were sent"


def a_grabbed_frame_need_not_be_retrieved(subject: Subject) -> None:
    """Without a subscriber, the runtime grabs frames and does not retrieve them.

    The next `retrieve` returns the newest grabbed frame.
    """
    with subject.opened() as (backend, info):
        into = np.empty(info.shape, info.dtype)
        backend.start()
        for turn in range(6):
            next_frame(backend)
            if turn % 2:
                assert backend.retrieve(into), "a frame after one not retrieved is damaged"


def grabbing_waits_instead_of_spinning(subject: Subject) -> None:
    """`grab` blocks until there is a frame, and returns within about a second.

    Checked for live sources, after the frames that were queued before: the process has to give up
    the processor in most of ten calls.
    """
    with subject.opened() as (backend, info):
        if not info.live:
            return
        began_ns = time.monotonic_ns()
        backend.start()
        _since(backend, began_ns, 1)
        before = _times_it_waited()
        for _ in range(10):
            next_frame(backend)
        waited = _times_it_waited() - before
        assert waited >= 5, f"in 10 calls grab() released the processor only {waited} times"


def closing_may_be_done_twice_and_before_opening(subject: Subject) -> None:
    """`close` releases the device in every state.

    The runtime closes a backend also after an `open` that failed.
    """
    backend = subject.make()
    backend.close()
    with subject.opened() as (backend, _):
        backend.start()
        next_frame(backend)
        backend.close()


def a_new_backend_opens_the_camera_again(subject: Subject) -> None:
    """A second backend finds the camera by its identity and delivers the same kind of pictures.

    The runtime does so after a loss.
    """
    with subject.opened() as (_, first):
        pass
    backend = subject.make()
    try:
        again = backend.open(first.identity or subject.address, subject.request)
        backend.start()
        next_frame(backend)
    finally:
        backend.close()
    assert (again.shape, again.dtype) == (first.shape, first.dtype), "other pictures came back"


def what_is_not_there_is_a_device_error_with_a_remedy(subject: Subject) -> None:
    """A missing camera raises DeviceError with a remedy, not an exception of a library.

    Not checked for a subject without an `absent` address.
    """
    if not subject.absent:
        return
    backend = subject.make()
    remedy: str | None = None
    try:
        backend.open(subject.absent, subject.request)
    except DeviceError as error:
        remedy = error.remedy
    finally:
        backend.close()
    assert remedy is not None, f"there is a camera at {subject.absent}"
    assert remedy, "the DeviceError has no remedy"


def a_control_that_it_does_not_have_is_an_answer(subject: Subject) -> None:
    """`adjust` returns why it refused a control, and raises nothing.

    Checked for backends that are `Adjustable`.
    """
    with subject.opened() as (backend, _):
        if isinstance(backend, Adjustable):
            answer = backend.adjust("no_such_control_of_any_camera", 1)
            assert not answer.same, "a control that does not exist was set"
            assert answer.got, "the answer does not contain the reason"


CHECKS: tuple[Check, ...] = (
    a_backend_has_the_five_methods,
    opening_tells_what_will_come,
    frames_are_written_in_place,
    stamps_are_of_the_run_and_increase_strictly,
    what_waited_before_the_start_is_not_taken_for_new,
    a_grabbed_frame_need_not_be_retrieved,
    grabbing_waits_instead_of_spinning,
    closing_may_be_done_twice_and_before_opening,
    a_new_backend_opens_the_camera_again,
    what_is_not_there_is_a_device_error_with_a_remedy,
    a_control_that_it_does_not_have_is_an_answer,
)
"""All checks."""


def next_frame(backend: CameraBackend) -> Stamp:
    """Return the next frame's stamp, with repeated calls of `grab` for a slow source.

    Raises:
        AssertionError: The source ended, `grab` took too long, or no frame came for 5 s.
    """
    deadline = time.monotonic() + _LONGEST_SILENCE_SEC
    while True:
        began = time.monotonic()
        grabbed = backend.grab()
        now = time.monotonic()
        assert now - began < _LONGEST_GRAB_SEC, f"grab() took {now - began:.1f} s"
        if isinstance(grabbed, Stamp):
            return grabbed
        assert grabbed is not NoFrame.END, "the source ended during the check: let it loop"
        assert now < deadline, f"no frame came within {_LONGEST_SILENCE_SEC:g} s ({grabbed.value})"


def _times_it_waited() -> int:
    """Return this thread's voluntary context switches, which do not depend on other load."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


def _since(backend: CameraBackend, start_ns: int, count: int) -> list[Stamp]:
    """Return the stamps of `count` frames, without older ones, which the runtime drops too."""
    stamps: list[Stamp] = []
    while len(stamps) < count:
        stamp = next_frame(backend)
        if stamp.time_ns >= start_ns:
            stamps.append(stamp)
    return stamps
