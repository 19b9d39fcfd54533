"""What becomes of stored data with time: erasure of documents, retention, backups."""
