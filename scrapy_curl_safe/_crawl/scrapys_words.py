"""Messages in the words of Scrapy's own handlers, for which people's alerts on logs look."""

from __future__ import annotations

from typing import Literal

from scrapy import Request

from .._ipc.messages import SizeWarning, TooLarge


def size_message(
    passed: SizeWarning | TooLarge, limit: Literal["warn", "max"], request: Request
) -> str:
    """Say that the body of a response passes a limit."""
    verb = "Expected to receive" if passed.expected else "Received"
    return (
        f"{verb} {passed.size} bytes which is larger than download {limit} size ({passed.limit}) "
        f"in request {request}."
    )


def dataloss_message(url: str) -> str:
    """Say how to get responses whose body ended early. Logged once."""
    return (
        f"Got data loss in {url}. If you want to process broken responses set the setting "
        "DOWNLOAD_FAIL_ON_DATALOSS = False -- This message won't be shown in further requests"
    )
