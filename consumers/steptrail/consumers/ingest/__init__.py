"""From a batch of messages to rows in the store: finding the messages that are no events, and dead-lettering them."""
