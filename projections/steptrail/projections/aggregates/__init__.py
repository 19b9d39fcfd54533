"""What is counted from rows: minutes, error groups, slots."""
