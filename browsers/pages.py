"""The pages of the sites. Whatever there is to click fills the window."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from browsers.situations import GALLERY, SITUATIONS, A, Situation

_FILLS = "position:fixed;inset:0;width:100%;height:100%"
# A click before the first frame would be lost, and so would keys while the browser is still busy
# with the page.
_PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">
<link rel="icon" href="data:,">{head}</head><body>{body}<script>
addEventListener("load", () => requestAnimationFrame(() => setTimeout(() => {{
  document.title = "{title}";
}}, 250)));
</script></body></html>"""

_SCRIPT = """<script>addEventListener("load", async () => {{
  for (const [url, options, jquery] of {calls}) {{
    if (!jquery) {{
      await fetch(url, options).catch(() => 0);
      continue;
    }}
    await new Promise(resolve => {{
      const xhr = new XMLHttpRequest();
      xhr.open("GET", url);
      xhr.setRequestHeader("Accept", "application/json, text/javascript, */*; q=0.01");
      xhr.setRequestHeader("X-Requested-With", "XMLHttpRequest");
      xhr.onloadend = resolve;
      xhr.send();
    }});
  }}
}});</script>"""

_TAGS = {
    "img": '<img src="{}">',
    "script": '<script src="{}"></script>',
    "link": '<link rel="stylesheet" href="{}">',
    "iframe": '<iframe src="{}"></iframe>',
}

_EMBEDDED = [each for each in SITUATIONS if each.page == A + GALLERY]


def title(number: int) -> str:
    """Return the title that a page gets once it is ready for clicks, with its request's number."""
    return f"[{number}]"


def plain(number: int) -> bytes:
    return _page(number)


def hub(number: int, situations: Sequence[Situation]) -> bytes:
    """Return a page that leads into these situations."""
    if not situations:
        return plain(number)
    first = situations[0]
    if first.way == "script":
        return _page(number, body=_SCRIPT.format(calls=json.dumps([_call(s) for s in situations])))
    return _page(number, body=_form(first) if first.way == "form" else _link(first))


def gallery(number: int, root: str) -> bytes:
    """Return a page with everything that a page can embed, style sheets in its head.

    Args:
        root: scheme and host of the page.
    """
    tags = [(each.tag, _TAGS[each.tag].format(each.url.replace(A, root))) for each in _EMBEDDED]
    head = "".join(text for tag, text in tags if tag == "link")
    return _page(number, head=head, body="".join(text for tag, text in tags if tag != "link"))


def _page(number: int, *, head: str = "", body: str = "") -> bytes:
    return _PAGE.format(head=head, body=body, title=title(number)).encode()


def _link(situation: Situation) -> str:
    return f'<a href="{html.escape(situation.first_url)}" style="{_FILLS}">there</a>'


def _form(situation: Situation) -> str:
    url, fields = situation.first_url, situation.body
    method = "post" if fields else "get"
    if not fields:
        # Its fields become the query.
        parts = urlsplit(url)
        url, fields = urlunsplit(parts._replace(query="")), parts.query
    inputs = "".join(
        f'<input type="hidden" name="{name}" value="{value}">' for name, value in parse_qsl(fields)
    )
    encoding = f'enctype="{situation.encoding}"' if situation.encoding else ""
    return (
        f'<form method="{method}" action="{html.escape(url)}" {encoding}>{inputs}'
        f'<button style="{_FILLS}">there</button></form>'
    )


def _call(situation: Situation) -> list[object]:
    options: dict[str, object] = {}
    if situation.body:
        options = {
            "method": "POST",
            "body": situation.body,
            "headers": {"content-type": situation.encoding},
        }
    return [situation.url, options, situation.is_xhr]
