"""A Scrapy project that crawls a documentation site through scrapy-curl-safe."""
