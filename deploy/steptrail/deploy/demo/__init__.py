"""The demonstration: real documents of this machine through a small pipeline in several processes."""
