"""What Linux, macOS and Windows do differently.

Every facility here is optional: where the system lacks or refuses it, a crawl goes on without it.
"""
