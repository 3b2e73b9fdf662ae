"""Benchmarks of download handlers: their speed, their memory, and the pages that they lose."""
