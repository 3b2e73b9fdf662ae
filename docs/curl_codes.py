"""Write docs/curl_codes.md from the code: python docs/curl_codes.py"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from curl_cffi import CurlECode
from scrapy.settings.default_settings import RETRY_EXCEPTIONS
from scrapy.utils.misc import load_object

from scrapy_curl_safe._crawl.errors import download_error
from scrapy_curl_safe._crawl.retry_rules import decide
from scrapy_curl_safe._ipc.failures import FailureKind, classify
from scrapy_curl_safe._ipc.messages import Failed, TransferStats
from scrapy_curl_safe._pool.origins import Route
from scrapy_curl_safe._worker.body_ending import Ending, Framing, ending_of

PAGE = Path(__file__).resolve().parent / "curl_codes.md"

_BEFORE, _IN_HANDSHAKE, _IN_BODY = "", "in the TLS handshake", "in the body"


class Meaning(NamedTuple):
    """One meaning of a code.

    Attributes:
        code: its name.
        meaning: what happened.
        text: of libcurl, as far as it decides.
        when: in which part of the transfer, as far as that decides.
    """

    code: str
    meaning: str
    text: str = ""
    when: str = _BEFORE


#: Of all codes with which a transfer over HTTP can end.
MEANINGS = (
    Meaning("UNSUPPORTED_PROTOCOL", "the URL's scheme is not http or https", 'Protocol "'),
    Meaning("UNSUPPORTED_PROTOCOL", "what came is no HTTP: no status line, or another version"),
    Meaning("FAILED_INIT", "libcurl or its TLS library did not start"),
    Meaning("NOT_BUILT_IN", "this libcurl lacks what the request asks for"),
    Meaning("COULDNT_RESOLVE_PROXY", "the proxy's name has no address"),
    Meaning("COULDNT_RESOLVE_HOST", "the host's name has no address"),
    Meaning("COULDNT_RESOLVE_HOST", "no thread is left to look it up", "thread failed to start"),
    Meaning("COULDNT_CONNECT", "nobody listens there, or the way there is cut"),
    Meaning("COULDNT_CONNECT", "no descriptor or port is left", "Too many open files"),
    Meaning("COULDNT_CONNECT", "the proxy refused the tunnel", "CONNECT tunnel failed"),
    Meaning(
        "COULDNT_CONNECT",
        "the proxy wants other credentials",
        "CONNECT tunnel failed, response 407",
    ),
    Meaning("WEIRD_SERVER_REPLY", "a header is not valid"),
    Meaning("WEIRD_SERVER_REPLY", "a trailer is not valid", when=_IN_BODY),
    Meaning("HTTP2", "the origin broke the rules of HTTP/2"),
    Meaning("HTTP2", "the same, after the headers", when=_IN_BODY),
    Meaning("PARTIAL_FILE", "the body ended early", when=_IN_BODY),
    Meaning("WRITE_ERROR", "no memory is left for the response"),
    Meaning("READ_ERROR", "the body of the request could not be read"),
    Meaning("OUT_OF_MEMORY", "no memory is left"),
    Meaning("OPERATION_TIMEDOUT", "the download took longer than `download_timeout`"),
    Meaning("OPERATION_TIMEDOUT", "the same", when=_IN_HANDSHAKE),
    Meaning("OPERATION_TIMEDOUT", "the same", when=_IN_BODY),
    Meaning("SSL_CONNECT_ERROR", "the connection ended", "SSL_ERROR_SYSCALL", _IN_HANDSHAKE),
    Meaning("SSL_CONNECT_ERROR", "the origin sent an alert", "ALERT", _IN_HANDSHAKE),
    Meaning("SSL_CONNECT_ERROR", "the origin speaks no TLS that fits", when=_IN_HANDSHAKE),
    Meaning("SSL_CONNECT_ERROR", "no memory is left", "malloc failure", _IN_HANDSHAKE),
    Meaning("ABORTED_BY_CALLBACK", "the request would have gone out more often than it may"),
    Meaning("BAD_FUNCTION_ARGUMENT", "an option of the request is not valid"),
    Meaning("INTERFACE_FAILED", "`bindaddress` is none of this machine's, or is in use"),
    Meaning("GOT_NOTHING", "the origin closed the connection without an answer"),
    Meaning("GOT_NOTHING", "the connection ended", when=_IN_HANDSHAKE),
    Meaning("SEND_ERROR", "the connection ended as the request went out"),
    Meaning("SEND_ERROR", "the connection ended", when=_IN_HANDSHAKE),
    Meaning("SEND_ERROR", "no descriptor is left", "Too many open files"),
    Meaning("SEND_ERROR", "the connection ended", when=_IN_BODY),
    Meaning("RECV_ERROR", "the connection ended before the answer"),
    Meaning("RECV_ERROR", "the connection ended", when=_IN_HANDSHAKE),
    Meaning("RECV_ERROR", "a reused connection had been closed", "connection died"),
    Meaning("RECV_ERROR", "the headers are larger than libcurl takes", "response headers"),
    Meaning("RECV_ERROR", "the proxy refused the tunnel", "CONNECT tunnel failed"),
    Meaning(
        "RECV_ERROR", "the proxy wants other credentials", "CONNECT tunnel failed, response 407"
    ),
    Meaning("RECV_ERROR", "the proxy closed the connection", "CONNECT aborted"),
    Meaning("RECV_ERROR", "the connection ended, or a chunk is not valid", when=_IN_BODY),
    Meaning("SSL_CIPHER", "no cipher of the profile can be used"),
    Meaning("PEER_FAILED_VERIFICATION", "the certificate is refused", when=_IN_HANDSHAKE),
    Meaning("BAD_CONTENT_ENCODING", "the response has a transfer coding that libcurl lacks"),
    Meaning("SEND_FAIL_REWIND", "the request would have gone out a second time"),
    Meaning("SSL_CACERT_BADFILE", "the certificate authorities cannot be read"),
    Meaning("SSL_SHUTDOWN_FAILED", "TLS did not close"),
    Meaning("AGAIN", "a socket is not ready, which libcurl should have waited for"),
    Meaning("NO_CONNECTION_AVAILABLE", "libcurl's bound on connections is reached"),
    Meaning("HTTP2_STREAM", "the origin reset the stream"),
    Meaning("HTTP2_STREAM", "a header is not valid in HTTP/2", "Invalid HTTP header field"),
    Meaning("HTTP2_STREAM", "the origin reset the stream, or its length is wrong", when=_IN_BODY),
    Meaning("RECURSIVE_API_CALL", "libcurl was called out of one of its callbacks"),
    Meaning("AUTH_ERROR", "a function for authentication failed"),
    Meaning("HTTP3", "the origin broke the rules of HTTP/3"),
    Meaning("HTTP3", "the same, after the headers", when=_IN_BODY),
    Meaning("QUIC_CONNECT_ERROR", "no QUIC connection came up"),
    Meaning("QUIC_CONNECT_ERROR", "the QUIC connection ended", when=_IN_BODY),
    Meaning("PROXY", "the proxy refused or failed to connect to the origin"),
    Meaning("PROXY", "a SOCKS5 proxy wants other credentials", "rejected by the SOCKS5"),
    Meaning("SSL_CLIENTCERT", "the origin demands a certificate of the client"),
    Meaning("UNRECOVERABLE_POLL", "the system cannot say which sockets are ready"),
    Meaning("TOO_LARGE", "the headers are larger than libcurl takes"),
)

#: With these, a download ends otherwise than by a `FailureKind`.
OTHERWISE = {
    "OK": "a response",
    "URL_MALFORMAT": "`ValueError`, and not retried: libcurl does not take the URL",
    "FILESIZE_EXCEEDED": "`DownloadCancelledError`, and not retried: the body is larger than "
    "`download_maxsize`",
}

#: Codes of other protocols, and of options that the worker never sets.
NEVER = {
    "REMOTE_ACCESS_DENIED", "FTP_ACCEPT_FAILED", "FTP_WEIRD_PASS_REPLY", "FTP_ACCEPT_TIMEOUT",
    "FTP_WEIRD_PASV_REPLY", "FTP_WEIRD_227_FORMAT", "FTP_CANT_GET_HOST", "FTP_COULDNT_SET_TYPE",
    "FTP_COULDNT_RETR_FILE", "QUOTE_ERROR", "HTTP_RETURNED_ERROR", "UPLOAD_FAILED",
    "FTP_PORT_FAILED", "FTP_COULDNT_USE_REST", "RANGE_ERROR", "BAD_DOWNLOAD_RESUME",
    "FILE_COULDNT_READ_FILE", "LDAP_CANNOT_BIND", "LDAP_SEARCH_FAILED", "TOO_MANY_REDIRECTS",
    "UNKNOWN_OPTION", "SETOPT_OPTION_SYNTAX", "SSL_ENGINE_NOTFOUND", "SSL_ENGINE_SETFAILED",
    "USE_SSL_FAILED", "SSL_ENGINE_INITFAILED", "LOGIN_DENIED", "TFTP_NOTFOUND", "TFTP_PERM",
    "REMOTE_DISK_FULL", "TFTP_ILLEGAL", "TFTP_UNKNOWNID", "REMOTE_FILE_EXISTS",
    "TFTP_NOSUCHUSER", "REMOTE_FILE_NOT_FOUND", "SSH", "SSL_CRL_BADFILE", "SSL_ISSUER_ERROR",
    "FTP_PRET_FAILED", "RTSP_CSEQ_ERROR", "RTSP_SESSION_ERROR", "FTP_BAD_FILE_LIST",
    "CHUNK_FAILED", "SSL_CERTPROBLEM", "SSL_PINNEDPUBKEYNOTMATCH", "SSL_INVALIDCERTSTATUS",
    "ECH_REQUIRED",
}  # fmt: skip

_ABOUT = """# libcurl's codes

What a download ends with, for each
[error code of libcurl](https://curl.se/libcurl/c/libcurl-errors.html) with which a transfer over
HTTP can end. One code can mean several things; libcurl's text, and the part of the transfer in
which it ended, tell them apart. Written from the code by `make reference`; a test compares the two.

"retried" says by whom: by Scrapy's `RetryMiddleware`, as `RETRY_EXCEPTIONS` has it by default, or
by `HandshakeRetryMiddleware`, with its [reason](reference.md#failures). "in the body" is after the
headers, in a body that is not delimited by the end of the connection alone; such a body is a
response, flagged `partial`, however the connection ended. With `DOWNLOAD_FAIL_ON_DATALOSS = False`
a `ResponseDataLossError` is a response, too, flagged `dataloss`.

"""


# See `_worker.failure`.
_KNOWN_TO_THE_WORKER = {
    "WRITE_ERROR": FailureKind.NO_MEMORY,
    "ABORTED_BY_CALLBACK": FailureKind.CONNECTION_DIED,
}


def kind_of(meaning: Meaning) -> FailureKind:
    """Return the kind of failure that a meaning has in the code."""
    code = CurlECode[meaning.code].value
    if meaning.when == _IN_BODY:
        framings = (Framing.STREAM, Framing.CHUNKED)
        if any(ending_of(code, each, 1, 2) is Ending.DATALOSS for each in framings):
            return FailureKind.DATALOSS
    if meaning.code in _KNOWN_TO_THE_WORKER:
        return _KNOWN_TO_THE_WORKER[meaning.code]
    return classify(code, meaning.text, in_handshake=meaning.when == _IN_HANDSHAKE)


def exception_of(meaning: Meaning) -> Exception:
    code = CurlECode[meaning.code].value
    failed = Failed(
        id=0, stats=TransferStats(), kind=kind_of(meaning), code=code, detail=meaning.text
    )
    return download_error(failed, Route("https://example.com:443", None))


def retried(exception: Exception) -> str:
    """Say by whom an exception is retried."""
    decision = decide(exception)
    if decision is not None:
        most = decision.rule.max_retries
        return "no" if most == 0 else f"`{decision.rule.reason}`" + (", once" if most else "")
    classes = tuple(load_object(name) for name in RETRY_EXCEPTIONS)
    return "by Scrapy" if isinstance(exception, classes) else "no"


def page() -> str:
    lines = [
        ("code", "", "what happened", "when", "libcurl's text has", "exception", "retried"),
        ("---",) * 7,
        *_rows(),
    ]
    text = _ABOUT + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n\n"
    for name, end in OTHERWISE.items():
        text += f"- {CurlECode[name].value} `{name}`: {end}.\n"
    codes = sorted(CurlECode[name].value for name in NEVER)
    listed = ", ".join(str(code) for code in codes)
    return text + (
        f"\nThe others are of other protocols or of options that a worker never sets ({listed}), "
        "or obsolete.\n"
    )


def _rows() -> Iterator[tuple[str, ...]]:
    for meaning in MEANINGS:
        exception = exception_of(meaning)
        number = str(CurlECode[meaning.code].value)
        text = f"`{meaning.text}`" if meaning.text else ""
        name = f"`{type(exception).__name__}`"
        if kind_of(meaning).is_handshake:
            name += f" (`{kind_of(meaning).value}`)"
        again = retried(exception)
        yield number, f"`{meaning.code}`", meaning.meaning, meaning.when, text, name, again


if __name__ == "__main__":
    PAGE.write_text(page())
