"""The consume loop: partitions, positions, batches, and what watches over them."""
