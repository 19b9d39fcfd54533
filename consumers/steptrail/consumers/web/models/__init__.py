"""What answers and requests look like; the names are those of docs/json.md."""
