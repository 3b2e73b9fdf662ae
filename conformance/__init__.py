"""Probes of what a download handler does, run against several handlers: `make conformance`."""
