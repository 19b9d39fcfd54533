"""From a batch of messages to rows in the store: events told from messages that are none, and what happens to those."""
