"""Asset checks, one file per asset."""
