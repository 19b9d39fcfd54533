"""The runtime shared by all services: logging, metrics, the status server, backoff, deadlines."""
