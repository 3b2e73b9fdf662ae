"""Encodes messages as bytes and decodes them. Does no I/O.

A frame is

    length of the header (4 bytes), length of the body (4 bytes), header, body

with both lengths big-endian. The header is one message in MessagePack; the body is raw, so pages
are never encoded.
"""

from __future__ import annotations

import struct
from typing import Generic, TypeVar

import msgspec

from .messages import FromWorker, ProtocolError, ToWorker

MAX_HEADER_BYTES = 16 * 1024 * 1024
MAX_BODY_BYTES = 2**32 - 1

_PREFIX = struct.Struct(">II")
_T = TypeVar("_T")

_encoder = msgspec.msgpack.Encoder()


def encode_frame(message: ToWorker | FromWorker, body_size: int = 0) -> bytes:
    """Encode a frame without its body, which the caller sends afterwards.

    Raises:
        ProtocolError: the header or the body is longer than a frame can hold, or the message has a
            value that MessagePack has no form for (an integer of more than 64 bits, say).
    """
    try:
        header = _encoder.encode(message)
    except (OverflowError, RecursionError, TypeError, ValueError) as error:
        raise ProtocolError(f"a message that cannot be encoded: {error}") from error
    if len(header) > MAX_HEADER_BYTES or body_size > MAX_BODY_BYTES:
        raise ProtocolError(f"a frame of {len(header)} + {body_size} bytes is too large")
    return _PREFIX.pack(len(header), body_size) + header


class FrameDecoder(Generic[_T]):
    """Turns the bytes of one direction into whole frames, however the bytes were split.

    A decoder buffers at most one frame. Its memory grows with the data that has arrived, never with
    the sizes that a prefix announces. After a ProtocolError it cannot be used any more.
    """

    def __init__(
        self,
        messages: msgspec.msgpack.Decoder[_T],
        *,
        max_header_bytes: int = MAX_HEADER_BYTES,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self._messages = messages
        self._max_header_bytes = max_header_bytes
        self._max_body_bytes = max_body_bytes
        # An unfinished frame: first its prefix and header ...
        self._start = bytearray()
        self._start_needs = 0
        # ... then its body.
        self._message: _T | None = None
        self._body: list[bytes] = []
        self._body_needs = 0

    def feed(self, data: bytes) -> list[tuple[_T, bytes]]:
        """Return the frames that these bytes complete, each as a message and its body.

        Raises:
            ProtocolError: the other side may not send such a frame.
        """
        if self._start:
            self._start += data
            if len(self._start) < self._start_needs:
                return []
            data = bytes(self._start)
            self._start.clear()
        frames: list[tuple[_T, bytes]] = []
        at = 0
        while True:
            if self._message is None:
                header_at = at + _PREFIX.size
                if header_at > len(data):
                    self._keep(data, at, _PREFIX.size)
                    return frames
                header_size, body_size = _PREFIX.unpack_from(data, at)
                if header_size > self._max_header_bytes or body_size > self._max_body_bytes:
                    raise ProtocolError(f"a frame of {header_size} + {body_size} bytes")
                body_at = header_at + header_size
                if body_at > len(data):
                    self._keep(data, at, _PREFIX.size + header_size)
                    return frames
                self._message = self._decode(memoryview(data)[header_at:body_at])
                self._body_needs = body_size
                at = body_at
            piece = data[at : at + self._body_needs]
            at += len(piece)
            self._body_needs -= len(piece)
            if self._body_needs:
                if piece:
                    self._body.append(piece)
                return frames
            if self._body:
                self._body.append(piece)
                piece = b"".join(self._body)
                self._body.clear()
            frames.append((self._message, piece))
            self._message = None

    def _keep(self, data: bytes, at: int, needs: int) -> None:
        self._start += memoryview(data)[at:]
        self._start_needs = needs

    def _decode(self, header: memoryview) -> _T:
        try:
            return self._messages.decode(header)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise ProtocolError(f"not a message: {error}") from error


def to_worker_decoder() -> FrameDecoder[ToWorker]:
    return FrameDecoder(msgspec.msgpack.Decoder(ToWorker))


def from_worker_decoder(*, max_body_bytes: int = MAX_BODY_BYTES) -> FrameDecoder[FromWorker]:
    return FrameDecoder(msgspec.msgpack.Decoder(FromWorker), max_body_bytes=max_body_bytes)
