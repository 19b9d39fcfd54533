"""Bringing messages to Kafka: the producer, its poll thread, what is reported of losses, forks and exits."""
