"""Checks what the head of a request may contain (RFC 9110, RFC 9112). Pure.

libcurl passes on whatever it gets: a line break in a method or a name would begin another line of
the head, or another request.
"""

from __future__ import annotations

import enum
import re


class HttpSyntaxError(ValueError):
    """Says which part of a request's head cannot be sent, and why."""


class HeadPart(enum.Enum):
    """The parts of a head, each with its name, the octets that it must not contain, and whether it
    may be empty."""

    #: RFC 9110, section 9.1: a token.
    METHOD = "method", rb"[^!#$%&'*+\-.^_`|~0-9A-Za-z]", False
    #: RFC 9112, section 3.2: no whitespace. Anything else that should be escaped is sent as it is.
    TARGET = "request target", rb"[\x00-\x20\x7f]", False
    #: RFC 9110, section 5.1: a token.
    FIELD_NAME = "name", rb"[^!#$%&'*+\-.^_`|~0-9A-Za-z]", False
    #: RFC 9110, section 5.5: no control characters except the tab.
    FIELD_VALUE = "value", rb"[\x00-\x08\x0a-\x1f\x7f]", True

    def __init__(self, label: str, forbidden: bytes, may_be_empty: bool) -> None:
        self.label = label
        self.find_forbidden = re.compile(forbidden).search
        self.may_be_empty = may_be_empty


def check_head_part(part: HeadPart, octets: bytes, *, of: str = "request") -> None:
    """Check a part of a head. No message contains its content, which may be a secret.

    Args:
        octets: the part as it would be sent.
        of: what it belongs to, for the message.

    Raises:
        HttpSyntaxError: the part cannot be sent.
    """
    found = part.find_forbidden(octets)
    if found is not None:
        raise HttpSyntaxError(
            f"the {part.label} of the {of} has {found.group()!r} at {found.start()}"
        )
    if not octets and not part.may_be_empty:
        raise HttpSyntaxError(f"the {part.label} of the {of} is empty")
