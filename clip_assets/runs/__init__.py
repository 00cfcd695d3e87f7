"""Closes runs whose process was killed, frees their pool slots, and deletes old runs."""
