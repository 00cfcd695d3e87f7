"""Index snapshots: a stopped Postgres that holds one released index, packed for replicas."""
