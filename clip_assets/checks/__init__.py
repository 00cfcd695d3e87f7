"""Asset checks, one file for each asset they guard."""
