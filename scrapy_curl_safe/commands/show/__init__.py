"""`scrapy curlsafe show`: shows the request for a URL as the site would get it.

run            sends the request through a crawl
local_site     receives the request in place of the site
client_hello   parses the ClientHello, and computes its JA4 (pure)
http2          parses how HTTP/2 was opened (pure)
output         prints the result
"""
