"""Index snapshots: a stopped Postgres with one released index, packed for replicas."""
