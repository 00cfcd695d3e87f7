"""What people say of hits: images that are right or wrong for a query."""
