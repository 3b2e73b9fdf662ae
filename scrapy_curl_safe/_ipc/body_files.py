"""Parts of the messages about a body that goes to a file."""

from __future__ import annotations

import msgspec


class FileOrder(msgspec.Struct, array_like=True, kw_only=True):
    """An order to write the body of a response to a file."""

    #: Bytes of the body that an earlier download has left in it, from where the request asks the
    #: origin to go on.
    offset: int = 0
    #: Whether the request asks for a range of its own, so that any part of the body answers it.
    takes_part: bool = False
    #: Whether the file gets the body without its Content-Encoding.
    decode: bool = True
    #: Whether the worker computes the MD5 of the file, too.
    md5: bool = False
    #: What the worker opens; 0 if a descriptor comes with the message.
    handle: int = 0


class WrittenFile(msgspec.Struct, array_like=True, kw_only=True):
    """A report of what a worker has written to a file."""

    #: Of the whole file, as are the digests.
    size: int
    sha256: bytes
    #: None unless it was asked for.
    md5: bytes | None = None
    #: The Content-Encoding of what is in the file, empty for none; None for the response's.
    encoding: bytes | None = None
