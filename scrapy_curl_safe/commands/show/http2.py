"""Parses how a client opens an HTTP/2 connection: its settings, and its first request. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from hpack import Decoder

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_HEADER_BYTES = 9

_HEADERS, _SETTINGS, _WINDOW_UPDATE, _CONTINUATION = 1, 4, 8, 9
_END_HEADERS, _PADDED, _PRIORITY = 0x4, 0x8, 0x20


@dataclass
class Http2Client:
    """The state of a client: what it has sent so far.

    Attributes:
        settings: identifier and value of each setting, in order.
        window: by how much it has raised the connection's flow-control window.
        fields: of the first request, including pseudo-headers; empty until all have arrived.
        weight: of the first request, 1 to 256; None if it has no priority.
        exclusive: that priority's exclusive flag.
    """

    settings: list[tuple[int, int]] = field(default_factory=list)
    window: int = 0
    fields: list[tuple[str, str]] = field(default_factory=list)
    weight: int | None = None
    exclusive: bool = False
    _block: bytes = b""

    @property
    def fingerprint(self) -> str:
        """Settings, window, priority frames (no browser sends any now) and the order of the
        pseudo-headers."""
        settings = ";".join(f"{name}:{value}" for name, value in self.settings)
        pseudo = ",".join(name[1] for name, _ in self.fields if name.startswith(":"))
        return f"{settings}|{self.window}|0|{pseudo}"

    def on_frame(self, header: bytes, payload: bytes) -> None:
        """Note a frame.

        Raises:
            hpack.HPACKError: the headers are not valid HPACK.
        """
        kind, flags, stream = header[3], header[4], int.from_bytes(header[5:], "big")
        if kind == _SETTINGS:
            self.settings += struct.iter_unpack("!HL", payload)
        elif kind == _WINDOW_UPDATE and stream == 0:
            self.window += int.from_bytes(payload, "big")
        elif kind in (_HEADERS, _CONTINUATION) and not self.fields:
            self._block += self._without_priority(flags, payload) if kind == _HEADERS else payload
            if flags & _END_HEADERS:
                self.fields = [
                    (_text(name), _text(value))
                    for name, value in Decoder().decode(self._block, raw=True)
                ]

    def _without_priority(self, flags: int, payload: bytes) -> bytes:
        if flags & _PADDED:
            payload = payload[1 : -payload[0] or None]
        if flags & _PRIORITY:
            self.exclusive, self.weight = bool(payload[0] & 0x80), payload[4] + 1
            payload = payload[5:]
        return payload


def _text(value: bytes | str) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
