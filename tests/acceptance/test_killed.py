"""`clip-assets backfill` killed or signalled in mid-job, with the instance file that we ship.

The tests stand in the order of one story: each finds what the one before left behind.
"""

import signal

import dagster as dg
import psutil
import pytest

from tests.acceptance.workplace import Workplace

pytestmark = pytest.mark.dagster_ui


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_stops_everything(workplace: Workplace, number: int, status: int) -> None:
    """The command ends with the signal's status, its job with it, and its run as canceled."""
    with workplace.backfill("large") as process:
        workplace.wait_for_a_commit()
        jobs = _jobs(workplace)
        process.send_signal(number)
        said, _ = process.communicate()
    assert process.returncode == status, said
    assert jobs
    assert not [job for job in jobs if job.is_running()]
    run = workplace.newest_run()
    assert run.status == dg.DagsterRunStatus.CANCELED
    assert workplace.slots_held() == set()
    assert 0 < workplace.commits("large") < 20


def test_killed_command_blocks_nobody(workplace: Workplace) -> None:
    """After SIGKILL, the next command closes the run, frees its slot, says both and goes on."""
    with workplace.backfill("large") as process:
        workplace.wait_for_a_commit()
        process.kill()
        process.wait()
    killed = workplace.newest_run()
    assert killed.status == dg.DagsterRunStatus.STARTED
    assert workplace.slots_held() == {killed.run_id}

    with workplace.backfill("few") as process:
        said, _ = process.communicate()

    assert process.returncode == 0, said
    assert f"Run {killed.run_id[:8]} was killed; it is now marked as failed." in said
    with workplace.instance() as instance:
        closed = instance.get_run_by_id(killed.run_id)
    assert closed
    assert closed.status == dg.DagsterRunStatus.FAILURE
    assert workplace.slots_held() == set()


def _jobs(workplace: Workplace) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if "clip_assets.node.embed" in (line := " ".join(process.info["cmdline"] or ()))
        and str(workplace.folder) in line
    ]
