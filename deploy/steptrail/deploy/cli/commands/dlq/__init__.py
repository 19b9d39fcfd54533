"""`steptrail dlq`."""
