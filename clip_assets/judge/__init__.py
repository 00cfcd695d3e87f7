"""Whether an index may be published: recall against exact search, measured."""
