"""Finds out what redirects a process's sockets and name lookups.

A library that is loaded before the C library (ld.so(8), LD_PRELOAD: proxychains, torsocks) replaces
some of its functions. Environment variables change what the C library looks up (resolv.conf(5),
hostname(7)).
"""

from __future__ import annotations

import json
import os
import re
from functools import lru_cache

from .environment import absolute_path
from .resolver import alias_file
from .system import system

# Tells a child process what is redirected in its parent.
_VARIABLE = "CURL_SAFE_REDIRECTS"

# The functions that begin a connection or a name lookup.
_FUNCTIONS = ("connect", "getaddrinfo")
_C_LIBRARY = re.compile(r"(libc|libpthread|ld-musl)\b")

# Variables that affect the C library's name lookups.
_LOOKUP_VARIABLES = frozenset({"HOSTALIASES", "LOCALDOMAIN", "RES_OPTIONS"})
_CONFIGURATION_FILES = ("PROXYCHAINS_CONF_FILE", "TORSOCKS_CONF_FILE")
_PREFIXES = ("PROXYCHAINS_", "TORSOCKS_")
_PRELOAD = "LD_PRELOAD"
# Where libproxychains looks for its configuration before /etc if no variable names it.
_PROXYCHAINS_CONFIGURATIONS = ("proxychains.conf", "~/.proxychains/proxychains.conf")


@lru_cache
def redirecting_libraries() -> dict[str, str]:
    """Return the functions that are not the C library's own, with the paths of the libraries that
    they come from."""
    found = {function: system.library_of(function) for function in _FUNCTIONS}
    return {
        function: path
        for function, path in found.items()
        if path and not _C_LIBRARY.match(os.path.basename(path))
    }


def are_lookups_redirected() -> bool:
    """Tell whether the C library may find another address for a name than the system's name
    servers."""
    return bool(redirecting_libraries() or any(map(os.environ.get, _LOOKUP_VARIABLES)))


def redirects_for_child() -> dict[str, str]:
    """Return the variables that redirect a child process in another directory like this process,
    and let it check that they do."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in _LOOKUP_VARIABLES or name.startswith(_PREFIXES)
    }
    for name in ("HOSTALIASES", *_CONFIGURATION_FILES):
        if environment.get(name):
            environment[name] = absolute_path(environment[name])
    preloaded = os.environ.get(_PRELOAD, "").replace(":", " ").split()
    if preloaded:
        # A name without a directory is looked up like other libraries.
        environment[_PRELOAD] = ":".join(absolute_path(p) if "/" in p else p for p in preloaded)
    libraries = redirecting_libraries()
    if libraries:
        environment[_VARIABLE] = json.dumps(libraries)
    if any("proxychains" in path for path in libraries.values()):
        for path in map(os.path.expanduser, _PROXYCHAINS_CONFIGURATIONS):
            if os.path.isfile(path):
                environment.setdefault("PROXYCHAINS_CONF_FILE", absolute_path(path))
    return environment


def redirects_problem() -> str | None:
    """Say what is redirected in the parent of this process, which started it with
    `redirects_for_child`, but not in this process; None if everything is."""
    own = redirecting_libraries()
    for function, path in json.loads(os.environ.get(_VARIABLE, "{}")).items():
        if os.path.basename(own.get(function, "")) != os.path.basename(path):
            return (
                f"LD_PRELOAD: {path} redirects {function}() of this program, and not of its "
                "workers, which would go past it. LD_PRELOAD must stay in the environment, and "
                "CURL_SAFE_PYTHON, if set, be an interpreter that loads this library"
            )
    aliases = alias_file()
    if aliases is not None:
        try:
            with open(aliases, "rb"):
                pass
        except FileNotFoundError:
            pass  # then there are no aliases
        except OSError as error:
            return f"HOSTALIASES: the workers cannot read the file that it names: {error}"
    return None
