"""Work as a step: context manager, decorator, and what an exception means for a step's ending."""
