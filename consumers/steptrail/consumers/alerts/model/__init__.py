"""Alerts without I/O: what fires, what is silenced, what is to be sent."""
