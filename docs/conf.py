"""Sphinx: `make docs`."""

from scrapy_curl_safe import __version__

project = "scrapy-curl-safe"
author = "the contributors"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["fit.css"]
html_title = f"scrapy-curl-safe {release}"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
