"""The questions and the actions, as plain functions that return models; routes and pages call them."""
