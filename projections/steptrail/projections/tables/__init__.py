"""What each topic becomes in the tables."""
