"""Which address asks which question."""
