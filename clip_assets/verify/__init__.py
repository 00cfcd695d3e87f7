"""Verifies that a collection's source, catalog, files, indexes and release agree."""
