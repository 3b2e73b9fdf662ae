"""`scrapy curlsafe`: checks of a machine, a project and an origin before a crawl."""
