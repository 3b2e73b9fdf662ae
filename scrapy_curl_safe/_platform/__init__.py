"""What Linux, macOS and Windows do differently, one facility a module.

    affinity        on which CPUs a process runs
    c_library       functions of the C library
    landlock        which files a process may open
    limits          core dumps, descriptors, threads
    memory          how much there is, and memory that two processes share
    poller          which descriptors are ready
    process         the end of a parent process, signals, and precedence over other processes
    refusals        what the system has refused
    resolver        how names are looked up
    sysctl          parameters of the kernel

Every facility is optional. If the system lacks it or refuses it, a crawl goes on without it. The
module says so by its result, and notes a refusal for the log and the doctor. Nothing here imports
Scrapy, Twisted or curl_cffi.
"""
