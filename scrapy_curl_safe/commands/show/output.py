"""Prints a request as a site gets it, for people or for machines."""

from __future__ import annotations

import json

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .client_hello import ja4, parse_client_hello
from .local_site import Arrival
from .run import ShowOptions


def print_arrival(options: ShowOptions, arrival: Arrival, console: Console) -> None:
    asked = f"asked for by {options.initiator}" if options.initiator else "typed"
    console.print(Text(f"{options.url}, {options.kind or 'kind guessed'}, {asked}"))
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in _connection(arrival).items():
        if value is not None:
            table.add_row(name, Text(str(value)))
    table.add_row("")
    for name, value in arrival.fields:
        table.add_row(Text(name), Text(value))
    console.print(table)


def arrival_json(options: ShowOptions, arrival: Arrival) -> str:
    found = {"url": options.url, **_connection(arrival), "headers": arrival.fields}
    return json.dumps(found, indent=2)


def _connection(arrival: Arrival) -> dict[str, object]:
    http2, hello = arrival.http2, arrival.hello
    return {
        "protocol": "HTTP/2" if http2 else "HTTP/1.1",
        "ja4": ja4(parse_client_hello(hello)) if hello else None,
        "http2": http2.fingerprint if http2 else None,
        "weight": http2.weight if http2 else None,
        "exclusive": http2.exclusive if http2 else None,
    }
