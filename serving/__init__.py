"""The search service: HTTP in front of the live release, and the page that people see."""
