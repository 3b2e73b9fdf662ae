"""The program that draws plots in a page: Vega-Lite, which vl-convert brings along."""

from __future__ import annotations

import vl_convert


def vega_embed() -> str:
    """Return a script that defines `vegaEmbed`. It is built from what is installed, in some
    seconds, and without the network."""
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
