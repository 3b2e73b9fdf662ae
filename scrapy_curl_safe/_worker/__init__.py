"""The subprocess that downloads. Only this package knows curl_cffi.

A worker never imports Scrapy or Twisted: what it does not load cannot slow its start, grow its
memory or be reached by what comes from the network.

`server` takes the crawler's messages. It finds the `session` of a request and starts a `download`,
which sets `request_options` on an `easy` handle and adds that to the session's `multi` handle.
libcurl, driven by the `loop`, writes the response to a stream of the `stream_pool`. At the end the
download sends what `response_head` makes of the response, or what `failure` makes of the error.
"""

#: Exit status of a worker that cannot go on (EX_SOFTWARE of sysexits.h).
EX_SOFTWARE = 70
