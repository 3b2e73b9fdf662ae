"""The Accept-Language of a browser whose user reads other languages than the target's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from .target import Family, Target

_NAME = "accept-language"
# Of the second language, if each weighs a tenth less than the one before.
_SECOND_OF_TENTHS = "q=0.9"


@lru_cache(256)
def speaking(target: Target, languages: tuple[str, ...]) -> Target:
    """Return the target with a user's languages, always the same object for the same ones."""
    own = target.value(_NAME)
    if own is None:
        return target
    value = accept_language(target.family, own, languages)
    values = ((name, value if name == _NAME else before) for name, before in target.values)
    return replace(target, values=tuple(values))


def accept_language(family: Family, own: str, languages: Sequence[str]) -> str:
    """Return the value of Accept-Language.

    Args:
        own: the value for the target's own languages, which shows how it weighs them: Firefox once
            divided 1 by their number, as it still does in older targets.
        languages: the best first.
    """
    if family != "gecko":
        languages = _with_bases(languages)
    count = len(languages)
    has_tenths = family != "gecko" or _SECOND_OF_TENTHS in own
    step = 0.1 if has_tenths else 1 / count
    weights = (max(0.1, 1 - place * step) for place in range(count))
    return ",".join(
        f"{language};q={int(weight * 10 + 0.5) / 10}" if place else language
        for place, (language, weight) in enumerate(zip(languages, weights, strict=True))
    )


def _with_bases(languages: Sequence[str]) -> list[str]:
    """Add "de" behind the last of several in a row like "de-AT" and "de-DE"."""
    listed: dict[str, None] = {}
    for place, language in enumerate(languages):
        listed[language] = None
        base = language.partition("-")[0]
        following = languages[place + 1].partition("-")[0] if place + 1 < len(languages) else ""
        if following != base:
            listed.setdefault(base)
    return list(listed)
