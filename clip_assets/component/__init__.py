"""The Dagster component: turns twelve lines of YAML into assets, checks and sensors."""
