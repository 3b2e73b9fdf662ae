"""Heads of HTTP/1.1: status lines, header lines, and where they end."""

from __future__ import annotations

from collections.abc import Iterator

from testkit.origins.raw import CUT, RESET

from .case import PAUSE, Case

BODY = b"Content-Length: 2\r\n\r\nok"

STATUS_LINES = {
    "no reason": b"HTTP/1.1 200\r\n",
    "an empty reason": b"HTTP/1.1 200 \r\n",
    "two blanks before the status": b"HTTP/1.1  200 OK\r\n",
    "a tab before the status": b"HTTP/1.1\t200 OK\r\n",
    "a blank before the version": b" HTTP/1.1 200 OK\r\n",
    "version 1.0": b"HTTP/1.0 200 OK\r\n",
    "version 1.2": b"HTTP/1.2 200 OK\r\n",
    "version 0.9": b"HTTP/0.9 200 OK\r\n",
    "version 2": b"HTTP/2 200 OK\r\n",
    "version 2.0": b"HTTP/2.0 200 OK\r\n",
    "version 3": b"HTTP/3 200 OK\r\n",
    "version 9.9": b"HTTP/9.9 200 OK\r\n",
    "version 1.10": b"HTTP/1.10 200 OK\r\n",
    "a version without digits": b"HTTP/a.b 200 OK\r\n",
    "a version in lower case": b"http/1.1 200 OK\r\n",
    "HTTPS as protocol": b"HTTPS/1.1 200 OK\r\n",
    "no version": b"HTTP 200 OK\r\n",
    "ICY": b"ICY 200 OK\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n",
    "a status of 5,000 digits": b"HTTP/1.1 " + b"2" * 5000 + b" OK\r\n",
    "a status with a sign": b"HTTP/1.1 +200 OK\r\n",
    "a negative status": b"HTTP/1.1 -200 OK\r\n",
    "no status": b"HTTP/1.1 OK\r\n",
    "the version alone": b"HTTP/1.1\r\n",
    "no blank after the status": b"HTTP/1.1 200OK\r\n",
    "status 0": b"HTTP/1.1 000 x\r\n",
    "status 99": b"HTTP/1.1 099 x\r\n",
    "status 299": b"HTTP/1.1 299 x\r\n",
    "status 600": b"HTTP/1.1 600 x\r\n",
    "status 999": b"HTTP/1.1 999 x\r\n",
    "a reason in UTF-8": "HTTP/1.1 200 Größe\r\n".encode(),
    "a reason with a colon": b"HTTP/1.1 200 a: b\r\n",
    "a NUL in the reason": b"HTTP/1.1 200 O\0K\r\n",
    "a reason of 10,000 bytes": b"HTTP/1.1 200 " + b"x" * 10_000 + b"\r\n",
    "a blank line before": b"\r\nHTTP/1.1 200 OK\r\n",
    "three blank lines before": b"\r\n\r\n\r\nHTTP/1.1 200 OK\r\n",
    "a line feed before": b"\nHTTP/1.1 200 OK\r\n",
    "a line of text before": b"warning: x\r\nHTTP/1.1 200 OK\r\n",
    "a byte order mark before": b"\xef\xbb\xbfHTTP/1.1 200 OK\r\n",
    "ended by a line feed": b"HTTP/1.1 200 OK\n",
    "ended by CR CR LF": b"HTTP/1.1 200 OK\r\r\n",
}

HEADER_LINES = {
    "begins with HTTP/": b"A: 1\r\nHTTP/1.1: x\r\nB: 2\r\n",
    "is a status line": b"A: 1\r\nHTTP/1.1 200 OK\r\nB: 2\r\n",
    "is a status line with a colon": b"A: 1\r\nHTTP/1.1 404 Not: Found\r\nB: 2\r\n",
    "is HTTP alone": b"A: 1\r\nHTTP: x\r\nB: 2\r\n",
    "a blank before the colon": b"Location : /x\r\n",
    "a tab before the colon": b"Location\t: /x\r\n",
    "a blank before the colon of Content-Length": b"Content-Length : 2\r\n",
    "a blank before the colon of Transfer-Encoding": b"Transfer-Encoding : chunked\r\n",
    "a blank in the name": b"X Y: z\r\n",
    "a blank before the first name": b" A: 1\r\nB: 2\r\n",
    "folded": b"A: one\r\n two\r\nB: 2\r\n",
    "folded with a tab": b"A: one\r\n\ttwo\r\nB: 2\r\n",
    "folded three times": b"A: one\r\n two\r\n  three\r\n\t four: x\r\nB: 2\r\n",
    "folded to an empty line": b"A: one\r\n \r\nB: 2\r\n",
    "folded Location": b"Location: /a\r\n b\r\n",
    "without a colon": b"A: 1\r\nno colon\r\nB: 2\r\n",
    "without a colon at once": b"no colon\r\nB: 2\r\n",
    "a colon alone": b"A: 1\r\n:\r\nB: 2\r\n",
    "an empty name": b"A: 1\r\n: x\r\nB: 2\r\n",
    "an empty value": b"A:\r\nB: 2\r\n",
    "no blank after the colon": b"A:1\r\n",
    "blanks around the value": b"A:  \t 1 \t \r\n",
    "ended by a line feed": b"A: 1\nB: 2\n",
    "ended by CR CR LF": b"A: 1\r\r\nB: 2\r\n",
    "a CR in the value": b"A: 1\rC: 3\r\nB: 2\r\n",
    "a CR at the value's start": b"A: \r1\r\nB: 2\r\n",
    "a NUL in the value": b"A: a\0b\r\nB: 2\r\n",
    "a NUL in the name": b"A\0C: 1\r\nB: 2\r\n",
    "a control character in the value": b"A: a\x01b\x7f\r\n",
    "a control character in the name": b"A\x01: 1\r\nB: 2\r\n",
    "a form feed before the value": b"A: \x0c1\x0b\r\n",
    "a name in UTF-8": "Größe: 1\r\nB: 2\r\n".encode(),
    "a value in UTF-8": "A: Größe\r\n".encode(),
    "a value in latin-1": b"A: Gr\xf6\xdfe\r\n",
    "a name of separators": b"(a)/[b]: 1\r\nB: 2\r\n",
    "a value of 10,000 bytes": b"A: " + b"x" * 10_000 + b"\r\n",
    "a name of 5,000 bytes": b"A" * 5000 + b": 1\r\n",
    "a thousand": b"".join(b"A-%d: 1\r\n" % n for n in range(1000)),
    "the same name five times": b"A: 1\r\na: 2\r\nA: 3\r\nA: 1\r\nA:\r\n",
    "two of Location that are the same": b"Location: /a\r\nLocation: /a\r\n",
    "two of Location": b"Location: /a\r\nLocation: /b\r\n",
    "a non-breaking blank in the value": b"A: \xa01\xa0\r\n",
    "only blanks for a value": b"A:   \r\nB: 2\r\n",
    "Connection: close": b"Connection: close\r\n",
    "Keep-Alive": b"Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n",
    "Alt-Svc": b'Alt-Svc: h3=":443"; ma=3600\r\n',
    "Strict-Transport-Security": b"Strict-Transport-Security: max-age=1\r\n",
    "Trailer": b"Trailer: X\r\n",
    "Upgrade": b"Upgrade: h2c\r\nConnection: Upgrade\r\n",
}

NO_HEADS = {
    "nothing": b"",
    "a letter": b"H",
    "a line of text": b"this is no HTTP\r\n",
    "text without a line end": b"ok",
    "HTML without a head": b"<html><head></head><body>" + b"hello " * 50 + b"</body></html>",
    "JSON without a head": b'{"a": 1}',
    "the banner of a mail server": b"220 ready for mail\r\n",
    "the banner of SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "bytes of 255": b"\xff" * 500,
    "bytes of 0": b"\0" * 500,
    "line feeds": b"\n" * 100,
    "a request": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "an HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/2 SETTINGS": bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)),
    "a TLS alert": bytes((0x15, 3, 3, 0, 2, 2, 40)),
}

ENDS_IN_HEAD = {
    "in the version": b"HTTP/1.",
    "in the status": b"HTTP/1.1 2",
    "after the status line": b"HTTP/1.1 200 OK\r\n",
    "in a name": b"HTTP/1.1 200 OK\r\nA",
    "in a value": b"HTTP/1.1 200 OK\r\nA: 1",
    "after a header": b"HTTP/1.1 200 OK\r\nA: 1\r\n",
    "after the CR of the last line": b"HTTP/1.1 200 OK\r\nA: 1\r\n\r",
    "after an interim head": b"HTTP/1.1 100 Continue\r\n\r\n",
}


def cases() -> Iterator[Case]:
    for name, line in STATUS_LINES.items():
        yield Case(f"status line: {name}", "TCP", [line + BODY])
    for name, lines in HEADER_LINES.items():
        length = b"" if "Content-Length" in name or "Transfer-Encoding" in name else BODY[:-6]
        head = b"HTTP/1.1 200 OK\r\n" + lines + length
        chunked = "Transfer-Encoding" in name
        body = b"\r\n2\r\nok\r\n0\r\n\r\n" if chunked else b"\r\n\r\nok" if length else b"\r\nok"
        yield Case(f"header line: {name}", "TLS", [head + body])
    for name, answer in NO_HEADS.items():
        yield Case(f"no head: {name}", "TCP", [answer])
        if name in ("nothing", "a line of text"):
            yield Case(f"no head: {name}", "TLS", [answer])
    for name, start in ENDS_IN_HEAD.items():
        yield Case(f"closed {name}", "TCP", [start])
    for name in ("after the status line", "in a value"):
        yield Case(f"cut {name}", "TLS", [ENDS_IN_HEAD[name], CUT])
        for transport in ("TCP", "TLS"):
            yield Case(f"reset {name}", transport, [ENDS_IN_HEAD[name], PAUSE, RESET])
