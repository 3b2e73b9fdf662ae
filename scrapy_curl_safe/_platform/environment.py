"""The variables of the environment that a worker gets on every system.

They locate the system's libraries and certificate authorities. No proxies, no credentials.
"""

from __future__ import annotations

import contextlib
import os

#: The first of these variables that names a file has the certificate authorities.
AUTHORITY_VARIABLES = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
#: These are paths, which have to be made absolute for a process in another directory.
PATH_VARIABLES = frozenset({"SSLKEYLOGFILE", *AUTHORITY_VARIABLES})
OTHER_VARIABLES = frozenset({"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ"})


def absolute_path(path: str) -> str:
    with contextlib.suppress(OSError):  # the current directory was removed
        return os.path.abspath(path)
    return path
