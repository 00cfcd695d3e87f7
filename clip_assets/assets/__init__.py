"""The four assets of a collection: thin, one plain call each."""
