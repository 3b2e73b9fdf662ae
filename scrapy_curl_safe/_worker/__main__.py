"""Starts a worker, given the descriptors of the socket to its crawler and of the shared memory.

The crawler runs this file with ``-I``, so that nothing in the directory of the crawl (a
``socket.py``, say) can shadow a standard module; CURL_SAFE_PATH says where else to import from. The
package is loaded from CURL_SAFE_ROOT, a directory or a zip archive, where the crawler has it from:
another copy of it, on that path, may speak another protocol. So may the same copy, if it was
upgraded while the crawl ran: CURL_SAFE_VERSION says what the crawler has.
"""

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec

PACKAGE = "scrapy_curl_safe"


def main() -> None:
    # Behind the interpreter's own path, which wins over what the crawler could import.
    for entry in os.environ.pop("CURL_SAFE_PATH", "").split(os.pathsep):
        if entry and entry not in sys.path:
            sys.path.append(entry)
    if PACKAGE not in sys.modules:
        _load_package(os.environ.pop("CURL_SAFE_ROOT"))
    # First: everything else may differ between two versions, the messages above all.
    from scrapy_curl_safe._version import EX_OTHER_VERSION, __version__  # noqa: PLC0415

    if os.environ.pop("CURL_SAFE_VERSION", __version__) != __version__:
        sys.exit(EX_OTHER_VERSION)
    from scrapy_curl_safe._platform.system import system  # noqa: PLC0415

    sock, memory = system.take_inherited(sys.argv[1:])
    try:
        from scrapy_curl_safe._worker.server import serve  # noqa: PLC0415
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] != "curl_cffi":
            raise
        from scrapy_curl_safe._worker.unusable import refuse  # noqa: PLC0415

        refuse(sock, f"no worker can use this curl_cffi: {error}. Install another one")
    else:
        serve(sock, memory)


def _load_package(root: str) -> None:
    spec = PathFinder.find_spec(PACKAGE, [root])
    assert spec is not None
    assert spec.loader is not None
    sys.modules[PACKAGE] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules[PACKAGE])


if __name__ == "__main__":
    main()
