"""What runs beside the GPU. Knows torch and the store; neither Dagster, SkyPilot nor Postgres."""
