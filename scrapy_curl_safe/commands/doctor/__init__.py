"""`scrapy curlsafe doctor`: finds what would slow or stop a crawl on this machine, and the fix."""
