"""HTTP requests of the tests to the services that they start.

`httpx.get` reads every certificate of the system anew, 40 ms of processor time at each request.
Here one client does so once, and like `httpx.get` it opens a connection for each request.
"""

from functools import partial
from urllib.parse import quote

import httpx

_client = httpx.Client(timeout=120, limits=httpx.Limits(max_keepalive_connections=0))
get, post, request = _client.get, _client.post, _client.request

quoted = partial(quote, safe="")
