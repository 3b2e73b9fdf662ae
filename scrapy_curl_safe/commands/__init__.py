"""`scrapy curlsafe`: what to know about this machine and this project before a crawl."""
