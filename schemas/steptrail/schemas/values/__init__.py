"""Values that people hand in, made into what JSON and the store can hold, at a bounded cost."""
