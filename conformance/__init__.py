"""What each download handler does, as runs of the same probes show: `make conformance`."""
