"""The programs that run on the GPU machine. They need no Dagster, SkyPilot or Postgres."""

from clip_assets.processors import limit_threads

limit_threads()  # here, because nothing of this room is imported after torch
