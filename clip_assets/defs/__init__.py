"""Definitions that Dagster loads: one folder a collection and model, and the resources."""
