"""The assets of a collection. Each is a thin wrapper around one plain function."""
