"""Settings: their model, their names, and the running local stack's addresses."""
