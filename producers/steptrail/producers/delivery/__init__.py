"""Delivery to Kafka: the producer, its poll thread, reports of losses, forks and exits."""
