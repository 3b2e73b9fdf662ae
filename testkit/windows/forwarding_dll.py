"""Writes a DLL with one function, which is another DLL's: ``forwarding_dll.py PATH NAME TARGET``.

The target is the name of a DLL and of its function, with a dot between them.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

_SECTION_RVA = 0x1000
_ALIGNMENT = 0x200
_DOS_SIZE = 0x80
_HEADERS_SIZE = 0x200
_AMD64 = 0x8664
_IS_DLL = 0x2022
_READABLE_DATA = 0x40000040


def make_dll(name: str, function: str, target: str) -> bytes:
    """Return a DLL.

    Args:
        name: of its file.
        function: that it exports.
        target: what that is.
    """
    exports = _exports(name, function, target)
    data = exports.ljust(_ALIGNMENT, b"\0")
    headers = (b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", _DOS_SIZE)).ljust(_DOS_SIZE, b"\0")
    # The file's header (IMAGE_FILE_HEADER), behind the signature.
    headers += b"PE\0\0" + struct.pack("<HHIIIHH", _AMD64, 1, 0, 0, 0, 240, _IS_DLL)
    # IMAGE_OPTIONAL_HEADER64 with 16 directories, of which the first is that of the exports.
    headers += struct.pack("<HBBIIIII", 0x20B, 14, 0, 0, len(data), 0, 0, _SECTION_RVA)
    headers += struct.pack("<QII", 0x180000000, 0x1000, _ALIGNMENT)
    headers += struct.pack("<HHHHHHI", 6, 0, 0, 0, 6, 0, 0)
    headers += struct.pack("<IIIHH", 0x2000, _HEADERS_SIZE, 0, 3, 0x160)
    headers += struct.pack("<QQQQII", 0x100000, 0x1000, 0x100000, 0x1000, 0, 16)
    headers += struct.pack("<II", _SECTION_RVA, len(exports)) + bytes(15 * 8)
    # The only section.
    headers += struct.pack(
        "<8sIIIIIIHHI",
        b".edata",
        *(len(exports), _SECTION_RVA, len(data), _HEADERS_SIZE, 0, 0, 0, 0, _READABLE_DATA),
    )
    return headers.ljust(_HEADERS_SIZE, b"\0") + data


def _exports(name: str, function: str, target: str) -> bytes:
    """Return an IMAGE_EXPORT_DIRECTORY and the tables and strings that it points to."""
    addresses, names, ordinals, strings = 40, 44, 48, 52
    texts = [text.encode() + b"\0" for text in (name, function, target)]
    name_at = _SECTION_RVA + strings
    function_at = name_at + len(texts[0])
    target_at = function_at + len(texts[1])
    tables = [_SECTION_RVA + table for table in (addresses, names, ordinals)]
    directory = struct.pack("<IIHHIIIIIII", 0, 0, 0, 0, name_at, 1, 1, 1, *tables)
    return directory + struct.pack("<IIHxx", target_at, function_at, 0) + b"".join(texts)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_bytes(make_dll(path.name, sys.argv[2], sys.argv[3]))
