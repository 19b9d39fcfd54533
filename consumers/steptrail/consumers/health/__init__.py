"""Health as a running part: the consumer that reads events, folds them into the rule and says what changes."""
