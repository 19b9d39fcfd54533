"""From a caller's arguments to the message of one event."""
