"""The Dagster component: twelve lines of YAML become assets, checks and sensors."""
