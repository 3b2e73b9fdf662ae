"""Real servers on the loopback interface, for every version of HTTP, TLS and proxies."""
