"""`scrapy curlsafe show`: what goes out for a URL, as the site itself would get it.

run            sends the request through a crawl
local_site     takes it in the site's place, and keeps what came
client_hello   parses how TLS was opened, and computes its JA4 (pure)
http2          parses how HTTP/2 was opened (pure)
output         prints it all
"""
