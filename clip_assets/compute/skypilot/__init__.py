"""Runs embedding jobs as SkyPilot managed jobs, with the library `dagster_skypilot`."""
