"""Runs embedding jobs as SkyPilot managed jobs. No other package imports `sky`."""
