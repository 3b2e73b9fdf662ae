"""Functions of the C library that are missing from Python's standard library."""

from __future__ import annotations

import ctypes
import os
from typing import Any

#: Whether the C library is glibc, which has functions that others lack.
IS_GLIBC = "CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", {})


def c_function(name: str, result: Any, *arguments: Any) -> Any:
    """Return a function of the C library, to be called through ctypes.

    Args:
        name: of the function.
        result: its ctypes type; None for void.
        arguments: their ctypes types.

    Raises:
        AttributeError: the C library has no such function.
    """
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    function.restype, function.argtypes = result, arguments
    return function


def call(name: str, *arguments: int | bytes | None) -> int:
    """Call a function that takes longs and pointers and returns an int.

    Returns:
        -1 if the C library has no such function, as if the call had failed. `ctypes.get_errno` says
        why a call failed.
    """
    types = [ctypes.c_long if isinstance(a, int) else ctypes.c_char_p for a in arguments]
    try:
        function = c_function(name, ctypes.c_int, *types)
    except AttributeError:
        return -1
    result: int = function(*arguments)
    return result
