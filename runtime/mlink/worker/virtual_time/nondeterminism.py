"""Warns of what makes two runs of a script differ in virtual time: clocks, sleeps, threads, chance.

Functions of Python's library and of NumPy are replaced by objects that call them and note the line
of the user's code from which the call came; what they return is not changed. Calls from libraries
are not noted. It is done in workers of scripts and programs, in virtual time alone.
"""

from __future__ import annotations

import ctypes
import datetime
import functools
import gc
import importlib
import logging
import os
import queue
import random
import resource
import secrets
import select
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dis import opname
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import numpy.random.bit_generator
import numpy.random.mtrand

from mlink.scripting.errors import is_library, is_users

Applies = Callable[[tuple[Any, ...], dict[str, Any]], bool]
"""Returns whether a call with these arguments is to be noted."""

_CLOCK = "reads the machine's clock: use syl.time_since_start_usec()"
_SLEEP = "lets no virtual time pass, and nothing is handled meanwhile: use syl.wait() or wait_sec()"
_WAIT = (
    "waits in the machine's time: no virtual time passes, and nothing is handled meanwhile; use "
    "syl.wait() or syl.await_data(), and ask without a time limit"
)
_BESIDE = (
    "runs beside virtual time, at the machine's own pace: compute in the script itself, in on_data "
    "or syl.schedule_delayed_call()"
)
_THREAD = f"a thread {_BESIDE}"
_TIMER = f"a timer of the system {_BESIDE}"
_PROCESS = f"a process {_BESIDE}"
_UNSEEDED = "has no seed: call random.seed(NUMBER) before, or use random.Random(NUMBER)"
_NUMPY = "has no seed: use numpy.random.default_rng(NUMBER), or numpy.random.seed(NUMBER)"
_GENERATOR = "gets no seed: give it a number"
_SYSTEM = "is another value in each run: use random.Random(NUMBER)"
_ID = (
    "is another one in each run: use uuid.UUID(int=random.Random(NUMBER).getrandbits(128), "
    "version=4)"
)

_CLOCKS = (
    "time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns",
    "process_time", "process_time_ns", "thread_time", "thread_time_ns", "clock_gettime",
    "clock_gettime_ns",
)  # fmt: skip
_CLOCKS_WITHOUT_TIME = {"localtime": 0, "gmtime": 0, "ctime": 0, "asctime": 0, "strftime": 1}
"""Functions of `time` that take the present unless they get a time, and the place of that."""
_CLASS_CLOCKS = (
    (datetime.datetime, "now"),
    (datetime.datetime, "utcnow"),
    (datetime.date, "today"),
)
_NOT_DRAWN = ("seed", "getstate", "setstate", "get_state", "set_state")
_MOST_HINTS = 20
"""Lines that make runs differ, in the summary."""
_PROCESSES = ("fork", "forkpty", "system", "posix_spawn", "posix_spawnp")


class _Watched:
    """Calls a function, and notes the call; no class, so that it is not bound as a method.

    It equals the function, for tables that have the function as a key.
    """

    def __init__(
        self, function: Callable[..., Any], note: Callable[[FrameType], object], applies: Applies
    ) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._note = note
        self._applies = applies

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._applies(args, kwargs):
            self._note(sys._getframe(1))
        return self._function(*args, **kwargs)

    def __eq__(self, other: object) -> bool:
        return self is other or bool(self._function == other)

    def __hash__(self) -> int:
        return hash(self._function)

    def __repr__(self) -> str:
        return repr(self._function)

    def __reduce__(self) -> str:
        return self._function.__name__

    def __instancecheck__(self, value: object) -> bool:
        return isinstance(value, self._function)  # type: ignore[arg-type]  # where it is a class


class Warnings:
    """Logs what makes runs differ, and repeats it as a hint; may be called in any thread."""

    def __init__(self, log: logging.Logger, hint: Callable[[str], object]) -> None:
        self._log = log
        self._hint = hint
        self._count = 0

    def __call__(self, text: str) -> None:
        """Log and repeat one of them."""
        self._log.warning(text)
        self._count += 1
        if self._count <= _MOST_HINTS:
            self._hint(text)
        elif self._count == _MOST_HINTS + 1:
            self._hint("there are more such lines: the log names them")


class NondeterminismWatch:
    """Notes each line of the user's code that makes runs differ, once for each cause.

    Args:
        warn: Called with a text that names script, line, cause and replacement; in any thread.
        folder: Paths of scripts below it are shown relative to it.
    """

    def __init__(self, warn: Callable[[str], object], folder: Path) -> None:
        self._warn = warn
        self._folder = folder
        self._pid = os.getpid()
        self._seen: set[tuple[str, int, str]] = set()
        self._made: dict[int, _Watched] = {}
        """By the identity of the function that is replaced."""
        self._seeded: set[ModuleType] = set()

    def install(self) -> None:
        """Replace the functions, also where the user's modules have imported them already.

        They stay replaced as long as the process lives.
        """
        for name in _CLOCKS:
            self._replace(time, name, f"time.{name}() {_CLOCK}")
        for name, place in _CLOCKS_WITHOUT_TIME.items():
            self._replace(time, name, f"time.{name}() {_CLOCK}", applies=_without(place, "t"))
        self._replace(os, "times", f"os.times() {_CLOCK}")
        self._replace(resource, "getrusage", f"resource.getrusage() {_CLOCK}")
        self._replace(time, "sleep", f"time.sleep() {_SLEEP}")
        self._replace_waits()
        self._replace_starts()
        self._replace_chance()
        for cls, name in _CLASS_CLOCKS:
            self._replace_in_class(cls, name)
        self._replace_imported()

    def _replace_waits(self) -> None:
        """Note waits with a time limit for what a thread does: of events, conditions and queues.

        Those of Python's library end in two functions; what has to wait for nothing is not noted.
        """
        wait, get = threading.Condition.wait, queue.SimpleQueue.get

        @functools.wraps(wait)
        def wait_and_note(condition: threading.Condition, timeout: float | None = None) -> bool:
            if timeout is not None and timeout > 0:
                self._note_wait("Condition.wait", sys._getframe(1))
            return wait(condition, timeout)

        @functools.wraps(get)
        def get_and_note(
            items: queue.SimpleQueue[Any], block: bool = True, timeout: float | None = None
        ) -> Any:
            if block and timeout is not None and timeout > 0 and items.empty():
                self._note_wait("SimpleQueue.get", sys._getframe(1))
            return get(items, block, timeout)

        threading.Condition.wait = wait_and_note  # type: ignore[method-assign, assignment]
        (table,) = gc.get_referents(queue.SimpleQueue.__dict__)
        table["get"] = get_and_note
        ctypes.pythonapi.PyType_Modified(ctypes.py_object(queue.SimpleQueue))
        what = f"select.select() with a time limit {_WAIT}"
        self._replace(select, "select", what, applies=lambda args, _: any(args[3:]))

    def _note_wait(self, name: str, frame: FrameType | None) -> None:
        """Note a wait by the function of Python's library that the user's code has called."""
        while frame is not None and is_library(frame.f_code.co_filename):
            name, frame = frame.f_code.co_qualname, frame.f_back
        self._note(f"{name}() with a time limit {_WAIT}", frame)

    def _replace_starts(self) -> None:
        """Replace what starts timers, threads and processes, and what Python's library starts."""
        for name in ("setitimer", "alarm"):
            self._replace(signal, name, _TIMER, applies=lambda args, _: any(args))
        for module, names in (
            ("_thread", ("start_new_thread", "start_new", "start_joinable_thread")),
            (threading.__name__, ("_start_new_thread", "_start_joinable_thread")),
        ):
            for name in names:
                self._replace(importlib.import_module(module), name, _THREAD, through_library=True)
        for name in _PROCESSES:
            self._replace(os, name, _PROCESS, through_library=True)
        self._replace(subprocess, "_fork_exec", _PROCESS, through_library=True)
        posix = importlib.import_module("_posixsubprocess")  # by it multiprocessing spawns
        self._replace(posix, "fork_exec", _PROCESS, through_library=True)

    def _replace_chance(self) -> None:
        """Replace what draws numbers: without a seed, or from the system."""
        init, seed = random.Random.__init__, random.Random.seed
        for module, names in (
            (random, ("seed", "setstate")),
            (numpy.random, ("seed", "set_state")),
        ):
            for name in names:
                what = f"{module.__name__}.{name}() {_GENERATOR}"
                self._replace(module, name, what, applies=self._seeds(module))
        for module, drawn, why in ((random, "random", _UNSEEDED), (numpy.random, "rand", _NUMPY)):
            generator = getattr(module, drawn).__self__  # the one that all functions share
            for name, value in list(vars(module).items()):
                if getattr(value, "__self__", self) is generator and name not in _NOT_DRAWN:
                    what = f"{module.__name__}.{name}() {why}"
                    self._replace(module, name, what, applies=self._unseeded(module))
        # What NumPy seeds by itself: default_rng(), PCG64(), SeedSequence(). RandomState makes a
        # generator without a seed in any case, and then gives it the seed.
        what = f"a generator of numpy.random {_GENERATOR}"
        self._replace(numpy.random.bit_generator, "randbits", what)
        what = f"numpy.random.RandomState() {_GENERATOR}"
        self._replace(numpy.random.mtrand, "_MT19937", what, applies=_called_without_arguments)
        for name in ("urandom", "getrandom"):
            self._replace(os, name, f"os.{name}() {_SYSTEM}")
        for name in (each for each in secrets.__all__ if each[0].islower()):
            if name != "compare_digest":
                self._replace(secrets, name, f"secrets.{name}() {_SYSTEM}")
        for name in ("uuid1", "uuid4", "uuid6", "uuid7", "uuid8"):
            self._replace(uuid, name, f"uuid.{name}() {_ID}")

        def init_and_note(made: random.Random, x: Any = None) -> None:
            if x is None or isinstance(made, random.SystemRandom):
                self._note(f"random.{type(made).__name__}() {_GENERATOR}", sys._getframe(1))
            init(made, x)

        def seed_and_note(made: random.Random, a: Any = None, version: int = 2) -> None:
            if a is None:
                self._note(f"random.Random.seed() {_GENERATOR}", sys._getframe(1))
            seed(made, a, version)

        random.Random.__init__ = init_and_note  # type: ignore[method-assign, assignment]
        random.Random.seed = seed_and_note  # type: ignore[method-assign, assignment]

    def _replace(
        self,
        module: Any,
        name: str,
        what: str,
        *,
        applies: Applies = lambda _args, _kwargs: True,
        through_library: bool = False,
    ) -> None:
        function = getattr(module, name, None)
        if function is None or isinstance(function, _Watched):  # of another version of Python
            return
        note = functools.partial(self._note, what, through_library=through_library)
        made = _Watched(function, note, applies)
        self._made[id(function)] = made
        setattr(module, name, made)

    def _replace_in_class(self, cls: type, name: str) -> None:
        """Replace a method of a class that is made in C, in the class's own table.

        The class stays the same one: a subclass in its place would change types of values.
        """
        (table,) = gc.get_referents(cls.__dict__)
        original = table[name]
        what = f"{cls.__name__}.{name}() {_CLOCK}"

        def method(of: type, *args: Any, **kwargs: Any) -> Any:
            self._note(what, sys._getframe(1))
            return original.__get__(None, of)(*args, **kwargs)

        table[name] = classmethod(functools.wraps(original)(method))
        ctypes.pythonapi.PyType_Modified(ctypes.py_object(cls))

    def _replace_imported(self) -> None:
        """Replace the functions in modules of the user that are imported already.

        That is so in a program, which runs before it calls init_link().
        """
        for module in list(sys.modules.values()):
            if not is_users(getattr(module, "__file__", None) or "<built-in>"):
                continue
            for name, value in list(vars(module).items()):
                if (made := self._made.get(id(value))) is not None:
                    setattr(module, name, made)

    def _seeds(self, module: ModuleType) -> Applies:
        """Return a condition of a function that sets a seed: note the call if it sets none."""

        def applies(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
            missing = next(iter((*args, *kwargs.values())), None) is None
            (self._seeded.discard if missing else self._seeded.add)(module)
            return missing

        return applies

    def _unseeded(self, module: ModuleType) -> Applies:
        return lambda _args, _kwargs: module not in self._seeded

    def _note(self, what: str, frame: FrameType | None, *, through_library: bool = False) -> None:
        """Note a call from this frame, unless it comes from a library.

        Args:
            what: The call, and what to do about it.
            frame: The frame of the caller.
            through_library: Whether a call from Python's library counts as one of its caller.
        """
        while frame is not None and (
            frame.f_code.co_filename.startswith("<")
            or (through_library and is_library(frame.f_code.co_filename))
        ):
            frame = frame.f_back
        if frame is None or not is_users(path := frame.f_code.co_filename):
            return
        key = (path, frame.f_lineno, what)
        if key in self._seen or os.getpid() != self._pid:  # a fork takes no part in the run
            return
        self._seen.add(key)
        shown = Path(path)
        with suppress(ValueError):
            shown = shown.relative_to(self._folder)
        self._warn(f"{shown}:{frame.f_lineno}: {what}")


def _called_without_arguments(_args: tuple[Any, ...], _kwargs: dict[str, Any]) -> bool:
    """Return whether the line that made the noted call, through C code, has no arguments there."""
    frame = sys._getframe(2)
    operation, count = frame.f_code.co_code[frame.f_lasti : frame.f_lasti + 2]
    return opname[operation] == "CALL" and count == 0


def _without(place: int, name: str) -> Applies:
    """Return a condition: no argument at this place and of this name, or None."""
    return lambda args, kwargs: (args[place] if len(args) > place else kwargs.get(name)) is None
