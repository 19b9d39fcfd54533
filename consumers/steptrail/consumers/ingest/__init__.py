"""Turns a batch of messages into rows in ClickHouse: finds messages that are not events, and dead-letters them."""
