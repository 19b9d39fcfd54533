"""Questions to Kafka that are not consuming."""
