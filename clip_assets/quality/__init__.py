"""Measures of search quality: plain numpy, no Dagster, no database."""
