"""The projector: writes the topics' records to ClickHouse's tables."""
