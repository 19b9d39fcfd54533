"""Secrets taken out of events before they leave the process."""
