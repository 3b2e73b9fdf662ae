"""`scrapy curlsafe`: what to know about a machine, a project and an origin before a crawl."""
