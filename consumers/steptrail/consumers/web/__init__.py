"""The HTTP API: what the tables know, and what people decide about it."""
