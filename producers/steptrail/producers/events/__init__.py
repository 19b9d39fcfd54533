"""Turns a caller's arguments into the message of one event."""
