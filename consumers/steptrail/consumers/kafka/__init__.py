"""Access to Kafka other than the consume loop: metadata, compacted topics, producing."""
