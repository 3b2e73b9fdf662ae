"""Everything that this package uses of curl_cffi beyond its documented interface.

Public names (`Curl`, `CurlOpt`, `CurlError` and others) are imported where they are used. Nothing
that a request calls dozens of times is wrapped here.

curl_cffi has had each of these names since 0.15 at the latest. Each is tried when the worker
starts. What replaces one that is missing or has changed is slower or knows less, but leads to the
same pages:

    name                              without it
    lib._curl_easy_setopt             `easy_substitutes`: Curl.setopt(), a handle for each request
                                      (and `head_echo` listens on a port to see a head)
    lib.curl_easy_getinfo             `easy_substitutes`: Curl.getinfo(), and no certificates
    lib.socket_function,              callbacks for libcurl are made at run time, not compiled
    lib.timer_function,
    ffi.def_extern
    requests.utils.set_curl_options   a Session sets the options, and is kept from sending a request
    BrowserTypeLiteral                libcurl alone knows which browsers there are
    requests.impersonate.             curl_cffi alone knows what an alias stands for
    REAL_TARGET_MAP
    curl.DEFAULT_CACERT               SSL_CERT_FILE, CURL_CA_BUNDLE, REQUESTS_CA_BUNDLE, else the
                                      authorities of Python or certifi: as curl_cffi looks for them

Since 0.16 it also has fingerprints.NATIVE_IMPERSONATE_TARGETS. Without that, the operating systems
of targets are unknown, which is not worth a warning.

Nothing can take the place of `ffi` or of these functions of `lib`, which are libcurl's own. Without
them no worker can run, and the crawl ends with the reason (`unusable`):

    curl_easy_init
    curl_multi_init, _cleanup, _setopt, _add_handle, _remove_handle, _socket_action, _info_read
    curl_slist_append, _free_all

Of curl_cffi's own attributes, `EasyHandle` overrides `_WS_RECV_BUFFER_SIZE`, the size of a buffer
for WebSockets. Until 0.16 every handle allocates it, since 0.17 only one that uses it.
"""

from __future__ import annotations

import os
import ssl
import warnings
from collections.abc import Callable
from typing import Any, get_args

import certifi
import curl_cffi
from curl_cffi import Curl, CurlInfo, CurlOpt, ffi, lib

from .._platform.environment import AUTHORITY_VARIABLES

try:
    from curl_cffi.curl import DEFAULT_CACERT
except ImportError:
    DEFAULT_CACERT = ""
try:
    from curl_cffi.requests.utils import set_curl_options
except ImportError:
    set_curl_options = None  # type: ignore[assignment]

try:
    from curl_cffi.requests.impersonate import REAL_TARGET_MAP
except ImportError:
    REAL_TARGET_MAP = {}

try:
    from curl_cffi.fingerprints import NATIVE_IMPERSONATE_TARGETS

    #: The operating system of each target; empty if unknown.
    TARGET_SYSTEMS = {t["target_name"]: str(t["os"]) for t in NATIVE_IMPERSONATE_TARGETS}
except (ImportError, LookupError, TypeError):
    TARGET_SYSTEMS = {}

__all__ = [
    "ALIASES",
    "AUTHORITIES",
    "TARGETS",
    "TARGET_SYSTEMS",
    "define_callback",
    "easy_getinfo",
    "easy_setopt",
    "ffi",
    "lib",
    "missing_names",
    "set_browser_options",
]

_REQUIRED = (
    "curl_easy_init",
    "curl_multi_add_handle",
    "curl_multi_cleanup",
    "curl_multi_info_read",
    "curl_multi_init",
    "curl_multi_remove_handle",
    "curl_multi_setopt",
    "curl_multi_socket_action",
    "curl_slist_append",
    "curl_slist_free_all",
)
#: By name: the consequences for a crawl without it.
_WITHOUT = {
    "lib._curl_easy_setopt": (
        "each request takes longer, a POST makes a new connection, and libcurl may send a GET more "
        "than twice, which is not counted"
    ),
    "lib.curl_easy_getinfo": (
        "responses have no certificate, and resumed handshakes are counted as full ones"
    ),
    "lib.socket_function": "each request takes a little longer",
    "lib.timer_function": "each request takes a little longer",
    "ffi.def_extern": "each request takes a little longer",
    "requests.utils.set_curl_options": "it takes longer to prepare a browser",
    "BrowserTypeLiteral": "an unknown browser is refused without a list of the known ones",
    "requests.impersonate.REAL_TARGET_MAP": "it is not known what a browser's name stands for",
    "curl.DEFAULT_CACERT": (
        "certificates are verified with the authorities of SSL_CERT_FILE, CURL_CA_BUNDLE or "
        "REQUESTS_CA_BUNDLE, else of Python or certifi"
    ),
}
_missing: dict[str, str] = {}


def missing_names() -> dict[str, str]:
    """Return the names that this curl_cffi lacks, each with the consequences for a crawl."""
    return dict(_missing)


def _has(name: str, works: Callable[[], object]) -> bool:
    """Try a name, and note it as missing if that fails."""
    try:
        if works():
            return True
    except Exception:  # A name that nobody promised may have changed in any way.
        pass
    _missing[name] = _WITHOUT[name]
    return False


_lacking = [name for name in _REQUIRED if not hasattr(lib, name)]
if _lacking:
    raise ImportError(f"its lib lacks {', '.join(_lacking)}", name="curl_cffi")

# Options, and what libcurl knows about a transfer


def _takes_options() -> bool:
    easy = lib.curl_easy_init()
    number = ffi.new("long *", 1)
    taken: bool = lib._curl_easy_setopt(easy, CurlOpt.TIMEOUT_MS, number) == 0
    taken = taken and lib._curl_easy_setopt(easy, CurlOpt.URL, b"https://localhost/") == 0
    # libcurl refuses this number, but would accept its address.
    number[0] = -1
    refused = lib._curl_easy_setopt(easy, CurlOpt.TIMEOUT_MS, number) != 0
    Curl(handle=easy).close()
    return taken and refused


def _tells_numbers() -> bool:
    easy = lib.curl_easy_init()
    number = ffi.new("long *", -1)
    told: bool = lib.curl_easy_getinfo(easy, CurlInfo.NUM_CONNECTS, number) == 0 and number[0] == 0
    Curl(handle=easy).close()
    return told


# Sets an option to the number or the string that a pointer points at.
easy_setopt: Any = lib._curl_easy_setopt if _has("lib._curl_easy_setopt", _takes_options) else None
# curl_easy_getinfo(3).
easy_getinfo: Any = lib.curl_easy_getinfo if _has("lib.curl_easy_getinfo", _tells_numbers) else None


# Callbacks


def define_callback(name: str, signature: str, body: Callable[..., int], onerror: Any) -> Any:
    """Return a C function that calls a Python function.

    Args:
        name: a function that curl_cffi has compiled for AsyncCurl. It is taken away from AsyncCurl,
            which a worker does not use.
        signature: of the C function.
        body: the Python function.
        onerror: called with what `body` raises.
    """

    def define() -> bool:
        ffi.def_extern(name=name, onerror=onerror)(body)
        return hasattr(lib, name)

    tried = f"lib.{name}" if hasattr(ffi, "def_extern") else "ffi.def_extern"
    if _has(tried, define):
        return getattr(lib, name)
    return ffi.callback(signature, body, onerror=onerror)


# Browsers

#: The browsers that can be impersonated; empty if unknown.
TARGETS: frozenset[str] = frozenset(get_args(getattr(curl_cffi, "BrowserTypeLiteral", None)))
_has("BrowserTypeLiteral", lambda: TARGETS)
#: Names that stand for another target, each with that target in this curl_cffi.
ALIASES: dict[str, str] = {
    name: target for name, target in REAL_TARGET_MAP.items() if name != target
}
_has("requests.impersonate.REAL_TARGET_MAP", lambda: ALIASES)


class _PreparedError(Exception):
    """Ends a request of a Session before it is sent."""


class _OptionsOnly:
    """A Session's `Curl` that takes the options of a request and does not send it."""

    def __init__(self, curl: Curl) -> None:
        self._curl = curl

    def __getattr__(self, name: str) -> Any:
        return getattr(self._curl, name)

    def perform(self, *_: object) -> None:
        raise _PreparedError

    def reset(self) -> None:
        """Keep the options."""


def _set_by_session(curl: Curl, options: dict[str, Any]) -> None:
    session: Any = curl_cffi.Session(curl=_OptionsOnly(curl), trust_env=False)  # type: ignore[arg-type]
    try:
        session.request("GET", "https://localhost/", **options)
    except _PreparedError:
        return
    raise RuntimeError("a Session of this curl_cffi sends its requests without Curl.perform()")


def _set_by_function(curl: Curl, options: dict[str, Any]) -> None:
    set_curl_options(
        curl,
        "GET",
        "https://localhost/",
        params_list=[None, None],
        headers_list=[None, None],
        cookies_list=[None, None],
        proxies_list=[None, None],
        verify_list=[True, None],
        **options,
    )


def _sets_browser_options() -> bool:
    curl = Curl()
    _set_by_function(curl, _browser_options())
    curl.close()
    return True


def _browser_options(**options: Any) -> dict[str, Any]:
    return {"allow_redirects": False, "accept_encoding": None, "quote": False, **options}


_HAS_FUNCTION = _has("requests.utils.set_curl_options", _sets_browser_options)


def set_browser_options(curl: Curl, **options: Any) -> None:
    """Set the options of a browser, as the arguments of `Session.request` describe it.

    Raises:
        Exception: curl_cffi answers what it does not know with AssertionError, KeyError and others.
    """
    set_by = _set_by_function if _HAS_FUNCTION else _set_by_session
    with warnings.catch_warnings():
        # curl_cffi warns that ja3 and the like alter the browser, which is what the user asked for.
        warnings.simplefilter("ignore")
        set_by(curl, _browser_options(**options))


# Certificate authorities


def _find_authorities() -> str:
    for name in AUTHORITY_VARIABLES:
        path = os.environ.get(name)
        if path and os.path.exists(path):
            return path
    return ssl.get_default_verify_paths().cafile or certifi.where()


#: Path of a file of certificate authorities.
AUTHORITIES: str = (
    DEFAULT_CACERT
    if _has("curl.DEFAULT_CACERT", lambda: os.path.isfile(DEFAULT_CACERT))
    else _find_authorities()
)
