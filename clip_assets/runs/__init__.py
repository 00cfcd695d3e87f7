"""Runs whose process ended without a word, and the pool slots that they still hold."""
