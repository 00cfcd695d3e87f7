"""What runs without a person: conditions, sensors and schedules."""
