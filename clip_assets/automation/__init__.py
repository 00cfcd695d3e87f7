"""Automation: conditions, sensors and schedules."""
