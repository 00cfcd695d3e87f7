"""Pure ASGI layers round the whole application."""
