"""What the report of a crawl says: collected while the crawl runs, and written as a page or as
data."""
