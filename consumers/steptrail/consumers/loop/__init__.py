"""The consume loop: partitions, positions, batches, and monitoring."""
