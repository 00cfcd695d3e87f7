"""Search: the only way to read vectors from an index."""
