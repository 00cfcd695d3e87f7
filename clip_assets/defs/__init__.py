"""Definitions that Dagster loads: one folder per collection and model, and the resources."""
