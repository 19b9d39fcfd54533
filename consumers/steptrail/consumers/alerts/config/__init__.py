"""The alerts file: owners, routes, targets; and how it is reloaded."""
