"""Rebuilds the projector's tables from the topic, beside the live ones."""
