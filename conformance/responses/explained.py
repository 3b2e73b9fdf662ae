"""The reasons why this handler and Scrapy's own differ, for each case in which they do."""

from __future__ import annotations

import re
from typing import NamedTuple

from .case import Case


class Explanation(NamedTuple):
    """A reason for which the two handlers differ.

    Attributes:
        reason: a sentence of Markdown.
        cases: a pattern of the titles of the cases.
    """

    reason: str
    cases: re.Pattern[str]

    def covers(self, case: Case) -> bool:
        return self.cases.fullmatch(case.title) is not None


def _explain(reason: str, *patterns: str) -> Explanation:
    return Explanation(reason, re.compile("|".join(f"(?:{pattern})" for pattern in patterns)))


EXPLANATIONS = (
    _explain(
        "libcurl takes HTTP/1.0, 1.1, 2 and 3, and a status of three digits from 100. Scrapy takes "
        "anything with numbers in it. RFC 9112, section 4, is with libcurl.",
        r"TCP: status line: (?:version (?:1\.2|0\.9|9\.9|1\.10)|HTTPS as protocol"
        r"|a byte order mark before|a status of two digits|a status with a sign"
        r"|a negative status|status 0|status 99)",
    ),
    _explain(
        "An origin may switch only to a protocol that the request offered (RFC 9110, section 7.8), "
        "and a browser's request offers none: libcurl refuses the 101. Scrapy takes it for a page.",
        r"TCP: status: 101 nobody asked for",
    ),
    _explain(
        "Any whitespace may part version and status (RFC 9112, section 4), and none need follow "
        "the status: so the page comes. Scrapy fails.",
        r"TCP: status line: (?:a tab before the status|no blank after the status)",
    ),
    _explain(
        "Twisted takes no line of more than 1 kB before a chunk.",
        r"TLS: chunks: an extension of 10,000 bytes",
    ),
    _explain(
        "libcurl refuses a NUL and a CR in a head, as RFC 9110, section 5.5, and RFC 9112, section "
        "2.2, allow. Scrapy passes them on. The failure says what to do.",
        r".*(?:a NUL in the (?:reason|value)|ended by CR CR LF|a CR in the value"
        r"|a CR at the value's start)",
    ),
    _explain(
        "libcurl refuses a header line without a colon; in the trailers, too, where Scrapy reads "
        "nothing. The failure says what to do: Scrapy skips such lines.",
        r"TLS: header line: (?:without a colon(?: at once)?|is a status line)",
        r"TLS: chunks: a trailer without a colon",
    ),
    _explain(
        "A line whose name is no token (RFC 9110, section 5.6.2) is skipped, and the headers "
        "before and after it are kept, as browsers do. Scrapy fails.",
        r"TLS: header line: (?:begins with HTTP/|is a status line with a colon|a blank in the name"
        r"|a colon alone|an empty name|a control character in the name|a name in UTF-8"
        r"|a name of separators)",
    ),
    _explain(
        "Whitespace before the first header makes that line void (RFC 9112, section 2.2). Scrapy "
        "fails.",
        r"TLS: header line: a blank before the first name",
    ),
    _explain(
        "Whitespace before the colon is removed (RFC 9112, section 5.1), so that a `Location ` is "
        "followed. Scrapy fails. Only a Transfer-Encoding that is written so is a failure here, "
        "too: its chunks were not decoded.",
        r"TLS: header line: a (?:blank|tab) before the colon(?: of Content-Length)?",
    ),
    _explain(
        "A folded line is joined by one blank (RFC 9112, section 5.2); Scrapy keeps the tabs and "
        "blanks that it began with.",
        r"TLS: header line: folded (?:with a tab|three times)",
    ),
    _explain(
        "Two values of Location that differ are refused by libcurl, and by Chrome. Scrapy takes "
        "the first one.",
        r"TLS: header line: two of Location",
    ),
    _explain(
        "Two values of Content-Length that differ are refused (RFC 9112, section 6.3), beside "
        "chunks, too.",
        r"TCP: Content-Length: two that differ, beside chunks",
    ),
    _explain(
        "A length of 5,000 digits is a body above the maximum. Python refuses to read it.",
        r"TCP: Content-Length: of 5,000 digits",
    ),
    _explain(
        "libcurl takes the codings `identity` and none at all for what they say. Scrapy knows "
        "`chunked` alone.",
        r"TCP: Transfer-Encoding: (?:identity|identity, chunked|empty)",
    ),
    _explain(
        "libcurl allows blanks after a chunk's size and line feeds alone, so the page comes, and "
        "refuses a size of more than 16 digits. Twisted has it the other way round.",
        r"TLS: chunks: (?:a blank after the size|sizes ended by line feeds|forty leading zeros)",
    ),
    _explain(
        "Scrapy's handler hangs: the exception in its parser ends neither the download nor, at its "
        "timeout, the crawl.",
        r"HTTP/2: head: (?:a value in latin-1|a value of 60,000 bytes|status abc|an empty status)",
    ),
    _explain(
        "Blanks around a value are removed. RFC 9113, section 8.2.1, calls them malformed.",
        r"HTTP/2: head: blanks around the value",
    ),
    _explain(
        "nghttp2 takes a status of three digits from 100, and Content-Length once.",
        r"HTTP/2: head: (?:status 99|status 2000|two content-lengths that are the same)",
    ),
    _explain(
        "A body that the status or the method forbids is not passed on.",
        r"HTTP/2: (?:head: 204 with a body|to HEAD: a body)",
    ),
    _explain(
        "The origin has not processed the request (RFC 9113, section 8.7), so libcurl tries it "
        "again, and then the middleware does.",
        r"HTTP/2: frames: (?:refused|told to go away at once)",
    ),
    _explain(
        "libcurl asks again by HTTP/1.1, as the origin demands (RFC 9113, section 7).",
        r"HTTP/2: frames: HTTP/1\.1 is required",
    ),
    _explain(
        "Streams that began before a GOAWAY may end (RFC 9113, section 6.8), so the page comes.",
        r"HTTP/2: frames: told to go away in the headers",
    ),
    _explain(
        "A response ends with END_STREAM (RFC 9113, section 8.1), so this one is cut off. libcurl "
        "reports a reset with NO_ERROR as the end of the stream (its issue 6015), and nothing else "
        "of what it tells differs: where no length was announced, the part passes for the whole.",
        r"HTTP/2: stream reset without an error in a body without a length(?:, data loss allowed)?",
    ),
    _explain(
        "What ends after the head is data lost, in HTTP/2 as in HTTP/1.1: a "
        "`ResponseDataLossError`, or with `DOWNLOAD_FAIL_ON_DATALOSS = False` the part, flagged. "
        "Scrapy's HTTP/2 handler does not know data loss: it is a `DownloadFailedError`. Scrapy "
        "retries both.",
        r"HTTP/2: .* in a body (?:by length|without a length|that has not begun)"
        r"(?:, data loss allowed)?",
        r"HTTP/2: a body (?:longer|shorter) than its length(?:, data loss allowed)?",
        r"HTTP/2: head: trailers (?:with a status|that do not end the stream)",
        r"HTTP/2: frames: (?:padding longer than its frame|settings of a wrong size"
        r"|a window update of 0|a window that overflows|a frame larger than allowed)",
    ),
    _explain(
        "A header that HTTP/2 forbids is an `Http2ProtocolError`, a `DownloadFailedError` that the "
        "middleware retries by HTTP/1.1.",
        r"HTTP/2: head: .*",
    ),
)


def explanation_of(case: Case) -> Explanation | None:
    """Return the first explanation of a case; None if there is none."""
    return next((each for each in EXPLANATIONS if each.covers(case)), None)
