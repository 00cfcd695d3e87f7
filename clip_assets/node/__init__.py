"""The programs that run on the GPU machine. They need no Dagster, SkyPilot or Postgres."""
