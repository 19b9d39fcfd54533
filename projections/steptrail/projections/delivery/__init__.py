"""From a batch of messages to rows, each once: staging, validation, the ledger."""
