"""The `signalfilter` module: causal filters on the channels of a signal stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlink.metadata import Metadata, passed_on
from mlink.module import Module
from mlink.modules.signals.catalog import SignalFilterSettings, selected_channels
from mlink.types import SignalBlock

if TYPE_CHECKING:
    from mlink.modules.signals.design import Filter


class SignalFilterModule(Module[SignalFilterSettings]):
    """Filters each block when it arrives; its timestamps pass unchanged.

    Integers are filtered as floats and rounded back; what is then outside of the type's range is
    clamped and counted.
    """

    _sections: NDArray[np.float64] | None = None
    _filter: Filter | None = None
    _channels: list[int]
    _selected: list[int] | None = None
    """The channels to filter; None filters all."""
    _width = -1
    """Channels of the stream; −1 before its first block."""
    _clamped = 0

    def prepare(self) -> None:
        """Design the filters if the stream's metadata is known by now."""
        self._input = self.context.inputs["signals-in"]
        self._output = self.context.outputs["signals-out"]
        self._input.on_item = self._on_block
        self._input.on_gap = self._output.note_lost
        if not self.settings.use_all_channels:
            self._selected = selected_channels(self.settings.channel_selection)
        if self._selected == []:
            self.log.warning("no channel is selected: all pass unfiltered")
        if self._input.metadata.get("sample_rate"):
            self._set_up()

    def start(self) -> None:
        """Design the filters, since the metadata is complete now."""
        if not self._input.connected:
            self.log.info("signals-in is not connected: nothing to filter")
            return
        self._set_up()

    def _set_up(self) -> None:
        metadata = self._input.metadata
        if self.settings.stages and self._sections is None:
            from mlink.modules.signals.design import is_stable, sections

            rate = metadata.get("sample_rate")
            hertz = float(rate) if isinstance(rate, int | float) else 0.0
            self._sections = sections(self.settings.stages, hertz)
            if not is_stable(self._sections):
                self.log.warning("the filter is not stable: what it sends may grow without limit")
        if not self._output.frozen:
            filtered = self._names(metadata)
            self._output.metadata.update(passed_on(metadata))
            self._output.metadata.update(filtered)

    def _names(self, metadata: Metadata) -> Metadata:
        """Return what is named otherwise than in the input."""
        source = str(metadata.get("src_mod_name") or self.context.name)
        proposal = metadata.get("data_name_proposal")
        first, slash, stem = str(proposal or "").partition("/")
        made = f"{first}-flt/{stem}-filtered" if slash else f"{first}-flt"
        changed: Metadata = {
            "data_name_proposal": made if first else f"{source}-flt/data-filtered",
        }
        names = metadata.get("signal_names")
        if isinstance(names, list):
            selected = set(self._selection(len(names)))
            changed["signal_names"] = [
                f"{name}_flt" if number in selected else name for number, name in enumerate(names)
            ]
        return changed

    def _selection(self, width: int) -> list[int]:
        """Return the channels that are filtered, of so many."""
        if not self.settings.stages:
            return []
        if self._selected is None:
            return list(range(width))
        return [each for each in self._selected if each < width]

    def _on_block(self, block: SignalBlock) -> None:
        if block.cols != self._width:
            self._begin(block.cols)
        if self._filter is None:
            self._output.submit(block)
            return
        made = type(block)()
        made.timestamps = block.timestamps
        samples = block.data.copy()
        filtered = self._filter(block.data[:, self._channels].astype(np.float64))
        samples[:, self._channels] = self._as_type(filtered, samples.dtype)
        made.data = samples
        self._output.submit(made)

    def _begin(self, width: int) -> None:
        """Start with a new state, for so many channels."""
        if self._width > 0:
            self.log.warning("the stream has %d channels now, it had %d", width, self._width)
        self._width = width
        self._channels = self._selection(width)
        if beyond := [each for each in self._selected or () if each >= width]:
            self.log.warning("channel %d does not exist: the stream has %d", beyond[0], width)
        self._filter = None
        if self._channels:
            from mlink.modules.signals.design import Filter

            assert self._sections is not None
            self._filter = Filter(self._sections, len(self._channels))

    def _as_type(self, samples: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
        if dtype.kind == "f":
            return samples.astype(dtype)
        limits = np.iinfo(dtype)
        rounded = np.rint(np.nan_to_num(samples, posinf=limits.max, neginf=limits.min))
        fitting = np.clip(rounded, limits.min, limits.max)
        self._clamped += int(np.count_nonzero(fitting != rounded))
        return fitting.astype(dtype)

    def stop(self) -> None:
        """Report what the filter could not do as it should."""
        if self._clamped:
            self.context.report("samples_clamped", self._clamped)
            self.context.hint(
                f"{self._clamped:,} filtered samples are outside of {self.settings.input_type} and "
                'were clamped; input_type = "SignalBlockF32" has room for them'
            )
        if self._filter is not None and self._filter.not_finite:
            self.context.report("samples_not_finite", self._filter.not_finite)
