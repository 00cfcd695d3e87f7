"""The service under mixed and hostile requests, a short form of `service_soak.py`."""

from collections.abc import Callable

from tests.faults.service_soak import EXPECTED, Requests, Use, serving, wait_until_closed

WARM, MORE = 600, 1_800
MOST_MIB = 24
"""What memory may vary by; a leak of 20 kB a request is more."""


def test_requests_of_every_kind_leave_neither_memory_nor_files(
    python: str,
    new_database: Callable[[], str],
    record_property: Callable[[str, object], None],
) -> None:
    """Searches, uploads, bombs, nonsense and clients that leave: no answer is a fault."""
    with serving(python, new_database()) as (url, process):
        requests = Requests(url, seed=0)
        requests.send(lambda number: number > WARM)
        before = Use.now(process, 0)
        requests.send(lambda number: number > WARM + MORE)
        wait_until_closed(url, process, before)
        after = Use.now(process, 0)
    assert after.workers == before.workers
    assert requests.answers.keys() <= EXPECTED
    assert requests.answers[200] > MORE / 4
    record_property("figure", f"{after.memory - before.memory:.1f} MiB after {MORE} requests")
    assert after.memory - before.memory < MOST_MIB
