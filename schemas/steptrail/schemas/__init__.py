"""The contract: Avro schemas, models, codec and topics that every part shares."""
