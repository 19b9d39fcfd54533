"""Who may do what in Kafka: the rights of each part, and what is said when one is missing."""
