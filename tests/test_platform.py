"""The modules of the systems."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import scrapy_curl_safe._platform

PLATFORM = Path(scrapy_curl_safe._platform.__file__).parent


def names_of(module: str) -> set[str]:
    """Return the names that a module has for others."""
    for node in ast.parse((PLATFORM / f"{module}.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names: list[str] = ast.literal_eval(node.value)
            return set(names)
    raise AssertionError(f"{module} has no __all__")


def parameters_of(*modules: str) -> dict[str, str]:
    """Return the parameters of the functions of modules; those of the first that has one count."""
    found: dict[str, str] = {}
    for module in modules:
        for node in ast.parse((PLATFORM / f"{module}.py").read_text()).body:
            if isinstance(node, ast.FunctionDef):
                found.setdefault(node.name, ast.unparse(node.args))
    return found


def test_all_systems_have_the_same_names() -> None:
    assert names_of("linux") == names_of("macos") == names_of("windows")


@pytest.mark.parametrize(
    "modules", [("macos", "posix"), ("windows", "windows_processes")], ids=["macOS", "Windows"]
)
def test_the_functions_of_all_systems_take_the_same(modules: tuple[str, ...]) -> None:
    linux_functions, others = parameters_of("linux", "posix", "landlock"), parameters_of(*modules)
    for name in names_of("linux"):
        # The resolver's state is read by a module of its own, or not at all.
        if name in linux_functions and name != "resolver_state":
            assert others[name] == linux_functions[name], name
