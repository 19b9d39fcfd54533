"""What every running part stands on: logging, metrics, the status server, backoff, deadlines."""
