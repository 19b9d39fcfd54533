"""`steptrail run`."""
