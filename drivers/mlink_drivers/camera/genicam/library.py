"""Aravis, by ctypes: loaded when the first GenICam camera is looked for, and no dependency.

docs/decisions has why ctypes and not PyGObject. Calls release the GIL.
"""

from __future__ import annotations

import ctypes
import functools
from ctypes import POINTER, byref, c_char_p, c_double, c_int, c_int64, c_size_t, c_uint, c_void_p
from typing import Any

from mlink.errors import DeviceError

_LIBRARY = "libaravis-0.8.so.0"
MISSING_REMEDY = "Install it: sudo apt-get install libaravis-0.8-0"

Pointer = int | None
"""Address of an object of the library."""

_KINDS: dict[str, Any] = {
    "p": c_void_p,
    "s": c_char_p,
    "i": c_int,
    "u": c_uint,
    "l": c_int64,
    "L": ctypes.c_uint64,
    "d": c_double,
    "z": c_size_t,
    "v": None,
    "!": POINTER(c_void_p),
}
_CALLS = {
    "arv_update_device_list": "v",
    "arv_get_n_devices": "u",
    "arv_get_device_id": "su",
    "arv_get_device_vendor": "su",
    "arv_get_device_model": "su",
    "arv_get_device_serial_nbr": "su",
    "arv_get_device_address": "su",
    "arv_get_device_protocol": "su",
    "arv_camera_new": "ps!",
    "arv_camera_get_device": "pp",
    "arv_camera_is_gv_device": "ip",
    "arv_camera_create_stream": "pppp!",
    "arv_camera_get_payload": "up!",
    "arv_camera_clear_triggers": "vp!",
    "arv_camera_set_frame_rate": "vpd!",
    "arv_camera_get_frame_rate": "dp!",
    "arv_camera_get_frame_rate_bounds": "vppp!",
    "arv_camera_set_acquisition_mode": "vpi!",
    "arv_camera_start_acquisition": "vp!",
    "arv_camera_stop_acquisition": "vp!",
    "arv_gv_device_is_controller": "ip",
    "arv_device_get_feature": "pps",
    "arv_device_is_feature_available": "ips!",
    "arv_device_execute_command": "vps!",
    "arv_device_set_boolean_feature_value": "vpsi!",
    "arv_device_get_boolean_feature_value": "ips!",
    "arv_device_set_string_feature_value": "vpss!",
    "arv_device_get_string_feature_value": "sps!",
    "arv_device_set_integer_feature_value": "vpsl!",
    "arv_device_get_integer_feature_value": "lps!",
    "arv_device_get_integer_feature_bounds": "vpspp!",
    "arv_device_get_integer_feature_increment": "lps!",
    "arv_device_set_float_feature_value": "vpsd!",
    "arv_device_get_float_feature_value": "dps!",
    "arv_device_get_float_feature_bounds": "vpspp!",
    "arv_device_dup_available_enumeration_feature_values_as_strings": "ppsp!",
    "arv_gc_feature_node_is_locked": "ip!",
    "arv_gc_feature_node_get_actual_access_mode": "ip",
    "arv_stream_push_buffer": "vpp",
    "arv_stream_timeout_pop_buffer": "ppL",
    "arv_stream_get_n_infos": "up",
    "arv_stream_get_info_name": "spu",
    "arv_stream_get_info_uint64": "Lpu",
    "arv_buffer_new_allocate": "pz",
    "arv_buffer_get_status": "ip",
    "arv_buffer_get_timestamp": "Lp",
    "arv_buffer_get_system_timestamp": "Lp",
    "arv_buffer_get_frame_id": "Lp",
    "arv_buffer_get_image_data": "ppp",
    "arv_buffer_get_image_width": "ip",
    "arv_buffer_get_image_height": "ip",
    "arv_buffer_get_image_pixel_format": "up",
    "arv_buffer_get_image_padding": "vppp",
}
"""Function → kinds of its result and its arguments; "!" takes the error."""


class AravisError(Exception):
    """Aravis refused a call; the text is its reason."""


class _GError(ctypes.Structure):
    _fields_ = (("domain", ctypes.c_uint32), ("code", c_int), ("message", c_char_p))


class Aravis:
    """The functions of Aravis, as `call(name, …)`.

    Raises:
        OSError: The library is not there.
        AttributeError: It lacks a function.
    """

    def __init__(self) -> None:
        self._library = ctypes.CDLL(_LIBRARY)
        self._gobject = ctypes.CDLL("libgobject-2.0.so.0")
        self._glib = ctypes.CDLL("libglib-2.0.so.0")
        self._glib.g_error_free.argtypes = self._glib.g_free.argtypes = [c_void_p]
        self._gobject.g_object_unref.argtypes = [c_void_p]
        self._gobject.g_type_check_instance_is_a.argtypes = [c_void_p, c_size_t]
        self._gobject.g_signal_connect_data.argtypes = [c_void_p, c_char_p, *[c_void_p] * 3, c_int]
        self._gobject.g_signal_connect_data.restype = ctypes.c_ulong
        self._gobject.g_signal_handler_disconnect.argtypes = [c_void_p, ctypes.c_ulong]
        for name, kinds in _CALLS.items():
            function = getattr(self._library, name)
            function.restype = _KINDS[kinds[0]]
            function.argtypes = [_KINDS[kind] for kind in kinds[1:]]

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a function; texts are given and returned as str.

        Raises:
            AravisError: It reports an error.
        """
        given = [it.encode() if isinstance(it, str) else it for it in arguments]
        function = getattr(self._library, name)
        if not _CALLS[name].endswith("!"):
            return _decoded(function(*given))
        error = c_void_p()
        result = function(*given, byref(error))
        if error.value:
            message = ctypes.cast(error, POINTER(_GError)).contents.message
            text = (message or b"").decode("utf-8", "replace").strip() or "no reason given"
            self._glib.g_error_free(error)
            raise AravisError(text)
        return _decoded(result)

    def is_a(self, instance: Pointer, interface: str) -> bool:
        """Return whether an object has an interface, such as "arv_gc_float"."""
        kind = getattr(self._library, f"{interface}_get_type")
        kind.restype = c_size_t
        return bool(instance and self._gobject.g_type_check_instance_is_a(instance, kind()))

    def texts(self, name: str, *arguments: Any) -> list[str]:
        """Call a function that returns an array of texts, and their number by its last argument."""
        count = c_uint()
        array = self.call(name, *arguments, byref(count))
        if not array:
            return []
        pointers = ctypes.cast(array, POINTER(c_char_p))
        found = [
            (pointers[index] or b"").decode("utf-8", "replace") for index in range(count.value)
        ]
        self._glib.g_free(array)
        return found

    def connect(self, instance: Pointer, signal: str, callback: Any) -> int:
        """Call a ctypes callback at a signal, in whatever thread; the caller keeps the callback."""
        function = ctypes.cast(callback, c_void_p)
        return int(self._gobject.g_signal_connect_data(
            instance, signal.encode(), function, None, None, 0
        ))  # fmt: skip

    def disconnect(self, instance: Pointer, handler: int) -> None:
        """End what `connect` began."""
        self._gobject.g_signal_handler_disconnect(instance, handler)

    def unref(self, instance: Pointer) -> None:
        """Give an object back; None is none."""
        if instance:
            self._gobject.g_object_unref(instance)


@functools.cache
def aravis() -> Aravis:
    """Return the library.

    Raises:
        DeviceError: It is not installed, or too old; the remedy names the Debian package.
    """
    try:
        return Aravis()
    except OSError as error:
        raise DeviceError(
            f"GenICam cameras need Aravis, which is not installed ({error})", remedy=MISSING_REMEDY
        ) from error
    except AttributeError as error:
        raise DeviceError(
            f"this Aravis is too old for GenICam cameras: {error}",
            remedy="Install release 0.8.20 or newer of libaravis-0.8-0.",
        ) from error


def _decoded(result: Any) -> Any:
    return result.decode("utf-8", "replace") if isinstance(result, bytes) else result
