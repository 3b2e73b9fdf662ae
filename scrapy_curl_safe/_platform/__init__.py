"""The differences between Linux, macOS and Windows.

`system.py` chooses the module of the system that this process runs on, once. All three have the
same names, which say what the rest of the package may ask of a system:

    linux           with landlock, which says which files a process may open
    macos
    posix           what the two have in common
    windows         with windows_api, windows_poller and windows_sockets

No other module of the package asks on which system it is. Besides, there are:

    c_library       functions of the C library
    cgroups         the limits of containers
    environment     variables of the environment that matter on every system
    network         the limits of a system's network
    redirects       what redirects connections and name lookups from outside
    refusals        what the system has refused, and what systems lack
    resolver        the files that name lookups depend on

Every facility is optional. If the system lacks or refuses it, a crawl goes on without it. The
function's result says so, and the function notes a refusal for the log and the doctor; what a
system lacks altogether is in its module, as LACKING. Nothing here imports Scrapy, Twisted or
curl_cffi.
"""
