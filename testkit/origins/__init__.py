"""Real TLS origins on loopback."""
