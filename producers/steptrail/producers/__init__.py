"""Emission: the emitter, the step context manager and ProcessingStepManager."""
