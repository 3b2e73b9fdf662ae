"""The version of the package, which crawler and workers tell each other."""

__version__ = "0.1.0"

#: Exit status of a worker that is of another version than its crawler (EX_CONFIG of sysexits.h).
EX_OTHER_VERSION = 78
