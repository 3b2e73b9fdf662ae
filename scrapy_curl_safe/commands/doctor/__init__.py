"""`scrapy curlsafe doctor`: what keeps a crawl on this machine from going well, and the fix."""
