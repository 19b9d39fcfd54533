"""Running parts: the consume loop, the projector and dead letters."""
