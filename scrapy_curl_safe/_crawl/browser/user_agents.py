"""A target under the User-Agent of another build of its browser, with the client hints that agree.

Source of the brands: `GenerateBrandVersionList` in Chromium's `user_agent_utils.cc`. It draws their
order and the invented brand from the major version.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import permutations

from .own_headers import system_of
from .target import Target, learn_target

_AGENT, _BRANDS = "user-agent", "sec-ch-ua"
_MARKS, _VERSIONS = " (:-./);=?_", ("8", "99", "24")
_PRODUCTS = ("Google Chrome", "Microsoft Edge")


@lru_cache(256)
def with_user_agent(target: Target, user_agent: str) -> Target:
    """Return the target with this User-Agent, always the same object for the same one.

    Raises:
        ValueError: it is that of another browser.
    """
    if user_agent == target.value(_AGENT):
        return target
    other = learn_target([(_AGENT, user_agent)])
    if other.family != target.family or not other.major:
        raise ValueError(
            f"the session has the User-Agent {user_agent}, and its browser sends "
            f"{target.value(_AGENT)}: it takes one of the same family"
        )
    changed = {_AGENT: user_agent}
    brands = target.value(_BRANDS)
    if brands is not None:
        changed["sec-ch-ua-platform"] = f'"{system_of(user_agent)}"'
        changed["sec-ch-ua-mobile"] = "?1" if "Mobile" in user_agent else "?0"
        if other.major != target.major:
            product = next((each for each in _PRODUCTS if each in brands), None)
            changed[_BRANDS] = brand_list(product, other.major)
    values = tuple((name, changed.get(name, value)) for name, value in target.values)
    return replace(target, major=other.major, values=values)


def brand_list(product: str | None, major: int) -> str:
    """Return the value of Sec-CH-UA.

    Args:
        product: None for a Chromium that has no other name.
    """
    first, second = _MARKS[major % len(_MARKS)], _MARKS[(major + 1) % len(_MARKS)]
    brands = [
        (f"Not{first}A{second}Brand", _VERSIONS[major % 3]),
        ("Chromium", str(major)),
    ]
    if product is not None:
        brands.append((product, str(major)))
    orders = list(permutations(range(len(brands))))
    places = orders[major % len(orders)]
    placed = sorted(zip(places, brands, strict=True))
    return ", ".join(f'"{name}";v="{version}"' for _, (name, version) in placed)
