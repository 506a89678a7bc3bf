"""What a module is: its declared type, its ports, its context, and the base class of all modules.

A worker process hosts one module and calls its methods in this order, all in its main thread:

    prepare()  Slow work: open devices, set metadata of outputs. No data flows; master time is 0.
    start()    Master time runs, submitting is allowed. Metadata is frozen when it returns.
    run()      Serves inputs until a stop is requested. Most modules do not override it.
    halt()     A stop was requested: sources stop acquiring and send nothing new afterwards.
    stop()     All inputs are drained. Submitting is still allowed (to switch an LED off).
    drained()  Inputs by feedback are drained as well.
    close()    Release everything. Always called, also after a failure.

What it has from the runtime is in `mlink.context`, and can be imported from here as well.
"""

from __future__ import annotations

import enum
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from mlink.context import (
    FrameLoan,
    InputPort,
    ModuleContext,
    ModuleSettings,
    OutputPort,
    RunInfo,
    SettingsT_co,
)
from mlink.errors import ModuleError
from mlink.refusals import import_remedy
from mlink.types import DataType

__all__ = [
    "Category",
    "FrameLoan",
    "InputPort",
    "Module",
    "ModuleContext",
    "ModuleSettings",
    "ModuleType",
    "OutputPort",
    "PortSpec",
    "Ports",
    "Request",
    "RunInfo",
    "SettingsT",
    "SettingsT_co",
]


class Category(enum.Enum):
    """What a module is for.

    In a cycle of streams this decides the order of start; a device starts before the modules that
    command it.
    """

    DEVICE = "device"
    GENERATOR = "generator"
    PROCESSING = "processing"
    SCRIPT = "script"
    WRITER = "writer"
    DISPLAY = "display"


@dataclass(frozen=True, slots=True)
class PortSpec:
    """A declared input or output of a module.

    Attributes:
        id: Name of the port in benches.
        data_type: Type of its items.
        title: Title for people; empty takes the id.
        beside: Of an input: the one whose handler takes its items, too; of an output: the one whose
            second source it answers. A module sees neither (`mlink.worker.second_source`).
    """

    id: str
    data_type: DataType
    title: str = ""
    beside: str = ""


VALUES_PORT = "@values"
"""What `PortSpec.beside` of a script is for the values that it offers; no input of a bench."""

Ports = tuple[tuple[PortSpec, ...], tuple[PortSpec, ...]]
"""(inputs, outputs)"""


@dataclass(frozen=True, slots=True)
class Request:
    """What a setting of a module asks of another one of the bench, its partner.

    The loader of the bench passes it to the partner's `ModuleType.grant` and connects the two.

    Attributes:
        key: The setting, for messages ("trigger.board").
        partner: Name of the other module in the bench.
        wish: What is asked for; its type is between the two modules.
        inputs: Own input → output of the partner, which prepares and starts first.
        outputs: Own output → input of the partner; such a stream is feedback.
    """

    key: str
    partner: str
    wish: Any
    inputs: tuple[tuple[str, str], ...] = ()
    outputs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ModuleType:
    """What the runtime knows of a module type without importing its implementation.

    Entry points of the group `mlink.modules` name objects of this class.

    Attributes:
        id: The type's name in benches ("camera-generic").
        title: Title for people.
        summary: One sentence for `mlink modules`.
        category: What it is for.
        settings: Its settings class.
        implementation: "package.module:Class" of the `Module`, imported only in the worker.
        inputs: Its inputs, unless `ports` is given.
        outputs: Its outputs, unless `ports` is given.
        ports: Returns (inputs, outputs) for given settings, where they depend on these (scripts).
    """

    id: str
    title: str
    summary: str
    category: Category
    settings: type[ModuleSettings]
    implementation: str
    inputs: tuple[PortSpec, ...] = ()
    outputs: tuple[PortSpec, ...] = ()
    ports: Callable[[Any], Ports] | None = None
    program: Callable[[Any, Path], tuple[str, ...]] | None = None
    """Returns the command line of a standalone module for (settings, bench folder)."""
    uses_device: bool = False
    """Whether it needs a `device` in the bench."""
    one_per_device: bool = False
    """Whether one module of this type at a time can have a device."""
    wrong_device: Callable[[Any, str], tuple[str, str]] | None = None
    """Returns for (settings, device string or "") what `mlink check` has to refuse and the remedy;
    ("", "") if the module can open such a device. It opens nothing."""
    absent_device: Callable[[str], str] | None = None
    """Returns why a device string means no device that is there now, for a warning of `mlink
    check`; "" if it does. It asks no device."""
    requests: Callable[[Any, str], tuple[Request, ...]] | None = None
    """Returns what a module with (settings, name) asks of others."""
    grant: Callable[[Any, str, Any], list[str]] | None = None
    """Takes a wish into (settings, name of who asks, wish); returns what keeps it from that. Called
    before `ports`; None where no module can ask for anything."""
    aliases: tuple[str, ...] = ()
    """Other names that benches may use for it."""
    sentence: Callable[[Mapping[str, float | str]], str] | None = None
    """Returns the one sentence of a run's summary on a module with these figures (those of
    `context.report`): "98 of 98 edges answered"; "" for none."""
    virtual_time: bool | Callable[[Any, str], str] = False
    """Whether it can run in virtual time: it sends from its main thread and from calls of
    `context.waiting` alone, waits by its context, and has the time from `context.clock`.

    A function returns for (settings, device string or "") why it cannot, "" if it can. It is then
    responsible for devices that are not simulated; with True these are refused."""

    def ports_for(self, settings: ModuleSettings) -> Ports:
        """Return (inputs, outputs) of a module with these settings."""
        if self.ports is not None:
            return self.ports(settings)
        return self.inputs, self.outputs

    def load(self) -> type[Module[Any]]:
        """Import the implementation.

        Raises:
            ModuleError: It cannot be imported.
        """
        module_name, _, class_name = self.implementation.partition(":")
        try:
            cls: type[Module[Any]] = getattr(importlib.import_module(module_name), class_name)
        except (ImportError, AttributeError) as error:
            raise ModuleError(
                f"module type '{self.id}' cannot be loaded from {self.implementation}: {error}",
                remedy=import_remedy(str(error)),
            ) from error
        return cls


SettingsT = TypeVar("SettingsT", bound=ModuleSettings)


class Module(Generic[SettingsT]):
    """Base of all modules. Override what is needed; the docstring of this file has the order."""

    ahead: ClassVar[bool] = False
    """Whether `run()`, as a user's code, has a higher priority than threads that it starts."""
    prompt: ClassVar[bool] = False
    """Whether `run()` has that priority to carry commands out at once, on a busy machine, too."""

    def __init__(self, context: ModuleContext[SettingsT]) -> None:
        self.context = context
        self.settings = context.settings
        self.log = context.log

    def prepare(self) -> None:
        """Open devices and set metadata of outputs.

        Called when all sources (but feedback) are prepared, so their metadata is complete. May take
        long; an exception fails the run before it starts.
        """

    def start(self) -> None:
        """Begin to send; master time runs.

        Called when all sources (but feedback) have started, and the devices that the module
        commands: a device starts before the sources of its commands. Metadata of outputs is frozen
        when it returns.
        """

    def run(self) -> None:
        """Serve inputs until a stop is requested.

        A module that overrides it has to call `context.serve` and to return when `context.running`
        is False.
        """
        self.context.serve()

    def halt(self) -> None:
        """Stop acquiring; called when a stop was requested, before inputs are drained.

        Threads that send have ended when it returns.
        """

    def stop(self) -> None:
        """Finish; all inputs but feedback are drained, submitting is still allowed."""

    def drained(self) -> None:
        """Finish after feedback inputs are drained as well; called after `stop()`."""

    def close(self) -> None:
        """Release everything.

        Always called, also when `prepare()` failed or was not called; nothing can be sent any more.
        """

    def explain(self, error: BaseException, phase: str) -> BaseException:  # noqa: ARG002
        """Return the exception to report for one that left a method of this module.

        Args:
            error: The exception.
            phase: The method, such as "prepare".

        Returns:
            By default `error`; scripts return a report with the user's file and line.
        """
        return error
