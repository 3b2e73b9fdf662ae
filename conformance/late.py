"""A subclass of any download handler, built when its first request comes."""

from __future__ import annotations

import os
from typing import Any

from scrapy.utils.misc import load_object

_Handler: Any = load_object(os.environ["LATE_HANDLER"])


class LateHandler(_Handler):  # type: ignore[misc]
    lazy = True
