"""Sending notifications: targets, workers, HTTP."""
