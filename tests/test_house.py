"""House rules for the package's modules: their size, their names, their vocabulary."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import scrapy_curl_safe

PACKAGE = Path(scrapy_curl_safe.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
by_module = pytest.mark.parametrize(
    "module", MODULES, ids=[str(path.relative_to(PACKAGE)) for path in MODULES]
)

MOST_LINES = 400
MOST_LINES_OF = {"_pool/pool.py": 250}

# A name that each module has for itself.
OF_EACH_MODULE = {"logger"}
# What these define, others define for another system.
FOR_OTHER_SYSTEMS = {
    "_platform/macos.py",
    "_platform/posix.py",
    "_platform/windows.py",
    "_platform/windows_poller.py",
    "_platform/windows_processes.py",
    "_worker/python_streams.py",
}
# What tells systems apart.
ASKS_FOR_THE_SYSTEM = re.compile(
    r"sys\.platform|os\.name\b|os\.uname|import platform\b"
    r"|(has|get)attr\((os|socket|signal|select)\b|except ImportError:  # (Windows|macOS)"
)

#: Words that occur in no identifier and no text any more, each with what is used instead.
OLD_WORDS = {
    "arena": "shared memory",
    "caution": "penalty",
    "figures": "stats",
    "gate": "OriginLimiter",
    "gates": "OriginLimiter",
    "hopeless": "exhausted",
    "job": "PoolRequest",
    "jobs": "requests",
    "portion": "batch",
    "pulse": "Heartbeat",
    "reception": "ResponseAssembler",
    "slab": "slot",
    "slabs": "slots",
    "suspect": "quarantined request",
    "suspects": "quarantined requests",
    "valve": "flow control",
    "warmth": "idle connections",
}
# Windows itself calls it so.
OLD_WORDS_OF = {
    "_platform/windows_api.py": {"job"},
    "_platform/windows_processes.py": {"job"},
}
#: Identifiers that occur no more, each with what is used instead. Their words have other uses.
OLD_NAMES = {
    "Answer": "Admission",
    "Attempt": "Slot",
    "Budget": "TokenBucket",
    "Cores": "WorkerAffinity",
    "Done": "Completed",
    "Handle": "EasyHandle",
    "Head": "ResponseHead",
    "HeaderList": "HeaderPairs",
    "Limit": "AimdLimit, CircuitBreaker",
    "Line": "WaitQueue",
    "Link": "Channel",
    "OriginRestsError": "OriginUnavailableError",
    "Percentiles": "LogHistogram",
    "Place": "SharedSlice",
    "Refused": "InvalidRequest",
    "Restarts": "RestartPolicy",
    "Shared": "CrawlContext",
    "TREATMENTS": "HANDSHAKE_RULES",
    "Taken": "SliceReleased",
    "Transfer": "TransferStats",
    "Treatment": "RetryRule",
    "Warned": "SizeWarning",
    "WireError": "ProtocolError",
    "cast_out": "kill",
    "dismiss": "release",
    "give_back": "refund",
    "give_up": "exhausted",
    "is_stale": "resolver_changed",
    "last_sign": "last_heard",
    "leave_alone": "open",
    "prepare": "prewarm",
    "recycle": "replace, drain",
    "rests_for": "open_for",
    "retire": "drain",
    "room": "capacity",
    "room_after": "capacity_after",
    "start_anew_if_given_up": "reset_if_given_up",
    "tell_tls": "report_tls",
    "under_way": "in_use",
    "was_warm": "expected",
}


def public_names(tree: ast.Module) -> Iterator[str]:
    """Yield the classes, functions and constants that a module defines for others."""
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            targets = [t for target in node.targets for t in ast.walk(target)]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        else:
            names = []
        yield from (name for name in names if not name.startswith("_"))


def identifiers(source: str) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME:
            yield token.string


def words(text: str) -> set[str]:
    """Return the words of a text or an identifier in lower case: `is_X` and `IsX` have two."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", text)}


def test_no_public_name_stands_for_two_things() -> None:
    where = defaultdict(list)
    for path in MODULES:
        if path.relative_to(PACKAGE).as_posix() in FOR_OTHER_SYSTEMS:
            continue
        for name in set(public_names(ast.parse(path.read_text()))) - OF_EACH_MODULE:
            where[name].append(str(path.relative_to(PACKAGE)))
    assert {name: modules for name, modules in where.items() if len(modules) > 1} == {}


@by_module
def test_no_module_is_too_long(module: Path) -> None:
    most = MOST_LINES_OF.get(module.relative_to(PACKAGE).as_posix(), MOST_LINES)
    assert len(module.read_text().splitlines()) <= most


def test_modules_with_a_bound_of_their_own_are_there() -> None:
    assert all((PACKAGE / name).exists() for name in MOST_LINES_OF)


def test_only_the_platform_asks_which_system_it_is() -> None:
    asking = [
        str(path.relative_to(PACKAGE))
        for path in MODULES
        if path.parent.name != "_platform" and ASKS_FOR_THE_SYSTEM.search(path.read_text())
    ]
    assert asking == []


@by_module
def test_old_words_are_not_used_any_more(module: Path) -> None:
    found = words(module.read_text()) & OLD_WORDS.keys()
    found -= OLD_WORDS_OF.get(module.relative_to(PACKAGE).as_posix(), set())
    assert {word: OLD_WORDS[word] for word in found} == {}


@by_module
def test_old_names_are_not_used_any_more(module: Path) -> None:
    found = set(identifiers(module.read_text())) & OLD_NAMES.keys()
    assert {name: OLD_NAMES[name] for name in found} == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("is_hopeless", {"is", "hopeless"}),
        ("OriginGate", {"origin", "gate"}),
        ("MOST_JOBS", {"most", "jobs"}),
        ("HTTPValve of the arena.", {"http", "valve", "of", "the", "arena"}),
        ("aggregate", {"aggregate"}),
    ],
)
def test_words_are_found_in_names_and_texts(text: str, expected: set[str]) -> None:
    assert words(text) == expected
