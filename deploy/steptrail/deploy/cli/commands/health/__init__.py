"""`steptrail health`."""
