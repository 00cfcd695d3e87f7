"""Waits until SkyPilot's API server answers; fails if it does not within two more minutes."""

import time

from sky.server import common

until = time.monotonic() + 120
while common.get_api_server_status().status != common.ApiServerStatus.HEALTHY:
    common.get_api_server_status_response.cache_clear()
    if time.monotonic() > until:
        raise SystemExit("SkyPilot's API server does not answer.")
    time.sleep(1)
