"""Malformed and unusual responses, and what this handler and Scrapy's own make of each."""
