"""A Python interpreter whose curl_cffi lacks a name, as a later one may.

    python -m tests.without_curl_names NAME ARGUMENTS OF AN INTERPRETER...

curl_cffi itself can still use the name: a name of its C library is hidden from everybody else, and
a name of its Python code is changed everywhere.
"""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any

# What workers use, and do without.
NAMES = (
    "lib._curl_easy_setopt",
    "lib.curl_easy_getinfo",
    "lib.socket_function",
    "lib.timer_function",
    "ffi.def_extern",
    "requests.utils.set_curl_options",
    "requests.impersonate.REAL_TARGET_MAP",
    "BrowserTypeLiteral",
    "curl.DEFAULT_CACERT",
)
# What only some versions have, so that nobody is warned.
OF_SOME_VERSIONS = ("fingerprints.NATIVE_IMPERSONATE_TARGETS",)
# Of a `Curl`, which workers do not use.
ATTRIBUTES = (
    "_body_handle",
    "_check_error",
    "_curl",
    "_debug_handle",
    "_error_buffer",
    "_get_error",
    "_header_handle",
    "_write_handle",
    "_WS_RECV_BUFFER_SIZE",
)
EACH_ATTRIBUTE = "each attribute"


class _Hiding:
    """All of an object but one name."""

    def __init__(self, whole: object, hidden: str) -> None:
        self._whole = whole
        self._hidden = hidden

    def __getattr__(self, name: str) -> Any:
        if name == self._hidden:
            raise AttributeError(name)
        return getattr(self._whole, name)


class _RenamingLoader(SourceFileLoader):
    """Loads a module in which some names are others."""

    names: Sequence[str] = ()

    def get_code(self, fullname: str) -> CodeType:
        source = self.get_data(self.path).decode()
        for name in self.names:
            source = re.sub(rf"\b{name}\b", f"other_{name}", source)
        code: CodeType = compile(source, self.path, "exec", dont_inherit=True)
        return code


class _RenamingFinder(MetaPathFinder):
    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] != "curl_cffi":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _RenamingLoader(fullname, spec.loader.path)
            spec.loader.names = self._names
        return spec


def take_away(name: str) -> None:
    """Have this process import a curl_cffi without a name."""
    owner, _, attribute = name.rpartition(".")
    if name == EACH_ATTRIBUTE:
        sys.meta_path.insert(0, _RenamingFinder(ATTRIBUTES))
    elif owner not in ("lib", "ffi") and name not in ("lib", "ffi"):
        sys.meta_path.insert(0, _RenamingFinder([attribute]))
    import curl_cffi  # noqa: PLC0415

    if owner in ("lib", "ffi"):
        setattr(curl_cffi, owner, _Hiding(getattr(curl_cffi, owner), attribute))
    elif name in ("lib", "ffi"):
        delattr(curl_cffi, name)


def interpreter_without(name: str) -> str:
    """Return the text of a program that is such an interpreter."""
    command = shlex.join([sys.executable, __file__, name])
    return f'#!/bin/sh\nexec {command} "$@"\n'


def main() -> None:
    name, isolated, program, *arguments = sys.argv[1:]
    assert isolated == "-I"
    sys.argv = [program, *arguments]
    del sys.path[0]
    take_away(name)
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main()
