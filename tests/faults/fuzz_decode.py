"""Fuzzes the decoder with libFuzzer: whatever the bytes are, it returns pixels or raises Rejected.

    python -m tests.faults.fuzz_decode 1000000 [libFuzzer's options, such as -seed=1]

It begins with a small image of each format, and ends with status 1 at the first other exception, at
a decode of more than a minute, or at 2 GB of memory; the bytes are then in a file that it names.
"""

import sys
import tempfile
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["PIL", "clip_assets.node.decode"]):
    from clip_assets.node.decode import Limits, Rejected, decode

from tests.faults import hostile

LIMITS = Limits(max_bytes=64 << 10, max_pixels=250_000)


def once(data: bytes) -> None:
    try:
        pixels = decode(data, LIMITS, enough=16).pixels
    except Rejected as verdict:
        assert verdict.reason
    else:
        assert pixels.ndim == 3
        assert 0 < pixels.size <= 3 * LIMITS.max_pixels


def main(runs: str, *options: str) -> None:
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as corpus:
        for kind in hostile.FORMATS:
            (Path(corpus) / kind).write_bytes(hostile.photo(kind))
        limits = ["-max_len=8192", "-timeout=60", "-report_slow_units=60", "-rss_limit_mb=2048"]
        atheris.Setup([sys.argv[0], f"-runs={runs}", *limits, *options, corpus], once)
        atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
