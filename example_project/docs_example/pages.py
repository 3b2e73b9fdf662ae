"""The pages of the local origin: the standard library's documentation as pydoc renders it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import pydoc
import re
import sys
import warnings
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Applications, tests, and modules whose import does more than to define something.
SKIPPED_MODULES = frozenset(
    ("antigravity", "distutils", "idlelib", "lib2to3", "this", "tkinter.tix", "turtle")
)
SKIPPED_NAMES = frozenset(("idle_test", "test", "tests", "turtledemo"))
LINK = re.compile(r'<a\s+href="([^"]*)"[^>]*>(.*?)</a>', re.DOTALL)


class Pages:
    """Their paths are fixed when this is made; their bodies are rendered on demand."""

    def __init__(self) -> None:
        # Old modules warn when they are imported or looked into.
        warnings.simplefilter("ignore")
        self._modules = {f"/{name}.html": name for name in _documented_modules()}

    def __contains__(self, path: object) -> bool:
        return path == "/" or path in self._modules

    def __len__(self) -> int:
        return len(self._modules) + 1

    def __iter__(self) -> Iterator[str]:
        return iter(["/", *self._modules])

    def render(self, path: str) -> bytes:
        """The body of a page; may take half a second."""
        title = self._modules.get(path, "standard library")
        html = _Renderer().page(title, self._contents(path))
        return LINK.sub(self._checked_link, html).encode("utf-8", "backslashreplace")

    def _contents(self, path: str) -> str:
        if path == "/":
            return _index(self._modules.values())
        name = self._modules[path]
        with mock.patch.object(inspect, "getcomments", _no_comments):
            return _Renderer().document(sys.modules[name], name)

    def _checked_link(self, link: re.Match[str]) -> str:
        """Keep only links to pages of this site: pydoc also links source files, web sites,
        and modules that are not served."""
        target, text = link.groups()
        if target == ".":
            return f'<a href="/">{text}</a>'
        path, _, _ = target.partition("#")
        return link[0] if not path or f"/{path}" in self else text


class _Renderer(pydoc.HTMLDoc):
    """Renders the same HTML as its base class, in less time: it escapes every single word."""

    def escape(self, text: str) -> str:
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    def preformat(self, text: str) -> str:
        text = self.escape(text.expandtabs())
        # Twice, as pydoc does: one pass leaves every other pair of newlines in a long run.
        text = text.replace("\n\n", "\n \n").replace("\n\n", "\n \n")
        return text.replace(" ", "&nbsp;").replace("\n", "<br>\n")

    def docother(self, object: Any, name: str | None = None, *rest: Any, **options: Any) -> str:
        # The data of `os` and `posix` includes the environment of this process.
        shown = {} if name in ("environ", "environb") else object
        return super().docother(shown, name, *rest, **options)


def _no_comments(_: object) -> None:
    """Where a docstring is missing, pydoc looks for a comment and parses the source of the whole
    module each time, which is most of the time that rendering would take."""


def _index(names: Iterable[str]) -> str:
    rows = "\n".join(f'<li><a href="{name}.html">{name}</a></li>' for name in names)
    return f"<h1>The Python standard library</h1>\n<ul>\n{rows}\n</ul>"


def _documented_modules() -> Iterator[str]:
    for name in sorted(sys.stdlib_module_names):
        yield from _importable(name)


def _importable(name: str) -> Iterator[str]:
    """The module and all below it, without those that this machine cannot import."""
    last = name.rpartition(".")[2]
    if name in SKIPPED_MODULES or last in SKIPPED_NAMES or last.startswith("_"):
        return
    try:
        module = importlib.import_module(name)
    except Exception:
        return
    yield name
    for info in pkgutil.iter_modules(getattr(module, "__path__", ())):
        yield from _importable(f"{name}.{info.name}")
