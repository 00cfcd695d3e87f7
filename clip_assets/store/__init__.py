"""Files under the data URI: their paths, their schemas, and how writes become visible."""
