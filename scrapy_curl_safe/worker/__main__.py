"""Start of a worker, given the number of the socket to its crawler.

The crawler runs this file by its path and with ``-I``, so that nothing in the directory
of the crawl (a ``socket.py``, say) can shadow a standard module; where else to import
from comes in CURL_SAFE_PATH. Only built-in modules may be imported before that is set.
"""

import os
import sys


def main() -> None:
    # Behind the interpreter's own path, which so wins over what the crawler could import.
    for entry in os.environ.pop("CURL_SAFE_PATH", "").split(os.pathsep):
        if entry and entry not in sys.path:
            sys.path.append(entry)
    from scrapy_curl_safe.worker.server import serve  # noqa: PLC0415

    serve(int(sys.argv[1]))


if __name__ == "__main__":
    main()
