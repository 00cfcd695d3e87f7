"""Embedding jobs as SkyPilot managed jobs. Nothing else of the product imports `sky`."""
