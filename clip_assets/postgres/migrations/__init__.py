"""Numbered migrations, each applied once, in order. Never edit a released one: add another."""
