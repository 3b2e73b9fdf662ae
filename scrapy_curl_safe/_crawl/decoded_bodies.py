"""Bodies that a worker has decoded, until the middleware asks for them.

Until then the response has the encoded body, as from any other handler.
"""

from __future__ import annotations

from typing import NamedTuple
from weakref import WeakKeyDictionary

from scrapy.crawler import Crawler
from scrapy.http import Response


class DecodedBody(NamedTuple):
    """A body that a worker has decoded.

    Attributes:
        encoded: the body as it came.
        encodings: the values of Content-Encoding that it had.
        decoded: None if that exceeds DOWNLOAD_MAXSIZE.
        excess_bytes: how much had been decoded then.
    """

    encoded: bytes
    encodings: list[bytes]
    decoded: bytes | None
    excess_bytes: int = 0


DecodedBodies = WeakKeyDictionary[Response, DecodedBody]

_bodies: WeakKeyDictionary[Crawler, DecodedBodies] = WeakKeyDictionary()


def decoded_bodies_of(crawler: Crawler) -> DecodedBodies:
    """Return the decoded bodies of a crawler, by response, which both the handler and the
    middleware have."""
    return _bodies.setdefault(crawler, WeakKeyDictionary())
