"""DuckDB over the parquet."""
