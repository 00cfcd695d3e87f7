"""Files under the data URI: their names, their schemas, and how they become visible whole."""
