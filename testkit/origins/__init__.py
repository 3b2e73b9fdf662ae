"""Real servers on the loopback interface, for HTTP in each version, TLS and proxies."""
