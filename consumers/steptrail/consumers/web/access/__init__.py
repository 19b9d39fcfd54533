"""Who may ask, and who may change something."""
