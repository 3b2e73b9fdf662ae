"""The crawler's side of a request: from Scrapy's Request to a Fetch, and from an outcome to a
Response. Only this package, the public modules and the commands know
Scrapy."""
