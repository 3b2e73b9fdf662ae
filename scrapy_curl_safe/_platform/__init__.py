"""The differences between Linux, macOS and Windows, with a module for each facility.

    affinity        which CPUs a process runs on
    c_library       functions of the C library
    landlock        which files a process may open
    limits          core dumps, descriptors, threads
    memory          its size, and memory that two processes share
    poller          which descriptors are ready
    process         the end of a parent process, signals, and precedence over other processes
    refusals        what the system has refused
    resolver        how names are looked up
    sysctl          parameters of the kernel
    unsent          what waits in a socket to be sent

Every facility is optional. If the system lacks or refuses it, a crawl goes on without it. The
module's result says so, and the module notes a refusal for the log and the doctor. Nothing here
imports Scrapy, Twisted or curl_cffi.
"""
