"""People's judgements of hits: which images are right or wrong for a query."""
