"""The version of the package, which crawler and workers tell each other."""

__version__ = "0.1.0"
