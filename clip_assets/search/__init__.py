"""Search: all reads of vectors from an index go through here."""
