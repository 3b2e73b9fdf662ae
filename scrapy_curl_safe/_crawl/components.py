"""Recognizes the components that settings name."""

from __future__ import annotations

from typing import Any

from scrapy.utils.misc import load_object


def is_derived(component: Any, base: type) -> bool:
    """Tell whether a component is a class or derived from it.

    Args:
        component: a class, its path, or None.
    """
    loaded = None if component is None else load_object(component)
    return isinstance(loaded, type) and issubclass(loaded, base)
