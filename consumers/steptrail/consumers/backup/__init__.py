"""What backing a store up and restoring it asks of Kafka."""
