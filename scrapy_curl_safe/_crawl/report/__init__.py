"""The contents of a crawl's report: collected while the crawl runs, and written as a page or as
data."""
