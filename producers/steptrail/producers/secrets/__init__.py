"""Redaction: removes secrets from events before they leave the process."""
