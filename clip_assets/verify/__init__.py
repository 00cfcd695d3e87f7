"""Verifies a collection: source, catalog, files, index and release say the same."""
