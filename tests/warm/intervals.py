"""Dagster's daemons look every second or two, for tests that wait until they look.

Dagster has no setting for it. Imported by the server, it is so in all processes of a test.
"""

import os

# These two are read from the environment, at import.
os.environ["FRESHNESS_DAEMON_INTERVAL_SECONDS"] = "2"
os.environ["DAGSTER_EVENT_LOG_CONSUMER_DAEMON_INTERVAL_SECONDS"] = "2"

import dagster._daemon.asset_daemon
import dagster._daemon.controller
import dagster._daemon.sensor

dagster._daemon.controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 2  # backfills
dagster._daemon.sensor.MIN_INTERVAL_LOOP_TIME = 1
dagster._daemon.asset_daemon.MIN_INTERVAL_LOOP_SECONDS = 1
