"""The dashboard: pages drawn on the server from the same questions that the API answers."""
