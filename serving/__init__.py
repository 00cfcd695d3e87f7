"""The search service: an HTTP API over the live release, and the search page."""
