"""The file that says who is alerted, and how it is read again while running."""
