"""`scrapy curlsafe doctor`: what would slow or stop a crawl on this machine, and the fix."""
