"""Chooses the module of the system that this process runs on."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from . import windows as system
elif sys.platform == "darwin":
    from . import macos as system
else:
    from . import linux as system

__all__ = ["system"]
