"""The projector: from the topics to the tables."""
