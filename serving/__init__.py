"""The search service: an HTTP API over the live release, and the search page.

Imported as `clip_assets.serving`, a link to this folder, because an installed package may not claim
the name `serving`. Its modules import one another relatively, so `python -m serving` works as well.
"""

from clip_assets.processors import limit_threads

# Each thread of the encoder is one of torch's. More would only wait for each other: on two busy
# cores, one thread encodes a text in a quarter of the time of two.
limit_threads(1)
