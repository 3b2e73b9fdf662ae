"""Draw the modules and who uses whom: python docs/architecture.py (needs Graphviz for the SVG)"""

from __future__ import annotations

import ast
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent / "scrapy_curl_safe"

# Used by most others, which would hide the other arrows.
_TABLES = {
    "_version",
    "settings",
    "exceptions",
    "_crawl.meta",
    "_crawl.scrapy_api",
    "_ipc.failures",
    "_ipc.messages",
    "_pool.event_loop",
    "_pool.events",
    "_worker.curl_api",
}
_GROUPS = {
    "": ("what users name", "#dbeafe"),
    "_crawl": ("_crawl: from Request to Response", "#e0e7ff"),
    "_crawl.sessions": ("_crawl.sessions: which request is whose", "#ede9fe"),
    "_crawl.report": ("_crawl.report: what a report says", "#fce7f3"),
    "_pool": ("_pool: processes, dispatch, limits", "#dcfce7"),
    "_ipc": ("_ipc: what both processes share", "#fef9c3"),
    "_worker": ("_worker: the subprocess", "#ffedd5"),
    "_platform": ("_platform: the operating system", "#f1f5f9"),
}


def drawing() -> str:
    """Return the picture in Graphviz's language."""
    uses = {module: set(_imports(path, module)) for path, module in _modules()}
    lines = [
        "digraph modules {",
        "  rankdir=LR; newrank=true; ranksep=0.7; nodesep=0.12;",
        '  fontname="sans-serif"; fontsize=13;',
        '  node [shape=box, style="filled,rounded", fontname="sans-serif", fontsize=11];',
        '  edge [color="#64748b", arrowsize=0.6];',
    ]
    groups: dict[str, list[str]] = {group: [] for group in _GROUPS}
    for module in sorted(uses):
        groups[module.rpartition(".")[0]].append(module)
    for group, (title, colour) in _GROUPS.items():
        lines.append(f'  subgraph "cluster_{group}" {{')
        lines.append(f'    label="{title}"; style=rounded; color="#94a3b8";')
        for module in groups[group]:
            label = module.removeprefix(f"{group}.")
            lines.append(f'    "{module}" [label="{label}", fillcolor="{colour}"];')
        lines.append("  }")
    for module in sorted(uses):
        for used in sorted(uses[module] - _TABLES - {module}):
            if used in uses and module not in _TABLES:
                lines.append(f'  "{module}" -> "{used}";')
    return "\n".join([*lines, "}"]) + "\n"


def _modules() -> Iterator[tuple[Path, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        module = path.relative_to(PACKAGE).with_suffix("")
        # The commands are programs of their own, and no module uses the browsers' rules yet.
        is_drawn = module.parts[0] != "commands" and module.parts[:2] != ("_crawl", "browser")
        if path.name != "__init__.py" and is_drawn:
            yield path, ".".join(module.parts)


def _imports(path: Path, module: str) -> Iterator[str]:
    """Yield the package's own modules that a module imports, those for type checks aside."""
    for node in _running(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom):
            continue
        if not node.level and (node.module or "").startswith(f"{PACKAGE.name}."):
            yield (node.module or "").partition(".")[2]
        elif node.level:
            parts = module.split(".")[: -node.level] + (node.module or "").split(".")
            base = ".".join(part for part in parts if part)
            if node.module is None or (PACKAGE / base.replace(".", "/")).is_dir():
                yield from (f"{base}.{alias.name}".lstrip(".") for alias in node.names)
            else:
                yield base


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        yield from _running(node)


def main() -> None:
    (HERE / "architecture.dot").write_text(drawing())
    if shutil.which("dot") is None:
        raise SystemExit("architecture.dot is written; without Graphviz, architecture.svg is not")
    dot = ["dot", "-Tsvg", "-o", str(HERE / "architecture.svg"), str(HERE / "architecture.dot")]
    subprocess.run(dot, check=True)


if __name__ == "__main__":
    main()
