"""The one door to vectors."""
