"""Records work as steps: context manager, decorator, and how exceptions end a step."""
