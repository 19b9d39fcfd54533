"""Tables that people and consumers write themselves."""
