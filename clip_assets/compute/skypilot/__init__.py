"""Runs embedding jobs as SkyPilot managed jobs, by the library `dagster_skypilot`."""
