"""The consume loop: partitions, positions, batches, and its monitor."""
