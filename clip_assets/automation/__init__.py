"""Conditions, sensors, schedules, jobs and alerts: what runs automatically."""
