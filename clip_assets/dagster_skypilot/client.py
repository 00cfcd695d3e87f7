"""`PipesSkyPilotClient`: runs a SkyPilot task as a managed job, and waits for it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import dagster as dg
from dagster_pipes import PipesExtras

from . import jobs, names
from .dagster_private import TreatAsResourceParam
from .job import JOB_TAG, Manner, PipesSkyPilotJob, is_canceled
from .jobs import JobState
from .messages import MessageStore, open_store
from .reader import PipesObjectStoreMessageReader
from .task import AnyTask


class PipesSkyPilotClient(dg.PipesClient, TreatAsResourceParam):
    """A Pipes client that runs a SkyPilot task as a managed job.

    If the run's worker is lost, its retry re-attaches to the job, which goes on meanwhile. Only a
    user who terminates the run cancels the job; a run that ends in any other way leaves it to the
    retry, or at last to the sensor of `build_skypilot_orphans_sensor`.

    Args:
        messages: where the job writes its Pipes messages and this client reads them: the URI of a
            bucket or folder that both reach, or a store of your own.
        context_injector: passes the context to the job; by default in an environment variable.
        forward_termination: whether terminating the run cancels the job.
        forward_stdio: whether the job's log is copied to the run's stderr.
        max_recoveries: a job that lost its machine more often is cancelled, and the run fails.
        poll_seconds: time between two looks at the job and its messages.
    """

    def __init__(  # noqa: PLR0913
        self,
        messages: MessageStore | str,
        *,
        context_injector: dg.PipesContextInjector | None = None,
        forward_termination: bool = True,
        forward_stdio: bool = True,
        max_recoveries: int = 20,
        poll_seconds: float = 4.0,
    ) -> None:
        self.messages = messages
        self.context_injector = context_injector or dg.PipesEnvContextInjector()
        self.forward_termination = forward_termination
        self._manner = Manner(max_recoveries, poll_seconds, forward_stdio)

    def run(  # type: ignore[override]  # noqa: PLR0913
        self,
        *,
        context: dg.OpExecutionContext | dg.AssetExecutionContext,
        task: AnyTask,
        name: str | None = None,
        pool: str | None = None,
        extras: PipesExtras | None = None,
        envs: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> dg.PipesClientCompletedInvocation:
        """Launch the task as a managed job, or re-attach to it, and wait until it has succeeded.

        Args:
            context: of the op or asset.
            task: a task file, its parsed content, or a `sky.Task`.
            name: of the work. A run that asks for work of the same name which an unfinished job
                of this Dagster instance does already, waits for that job instead of launching
                another. By default only the run and its retries find the job.
            pool: the `sky jobs pool` to run on; the task's own setup, workdir and mounts then do
                not apply, because the pool's workers have theirs.
            extras: arbitrary data for the job's program.
            envs: environment variables besides those of the task.
            secrets: the same, which SkyPilot neither logs nor shows.

        Returns:
            What the job's program reported; the metadata of its materializations has job,
            machine and dollars.

        Raises SkyPilotJobError if the job did not succeed, and SkyPilotError if SkyPilot cannot
        read the task, or its API server does not answer.
        """
        with self.open(
            context=context, task=task, name=name, pool=pool, extras=extras, envs=envs,
            secrets=secrets,
        ) as job:  # fmt: skip
            for _ in job.updates():
                pass
        job.require_success()
        return dg.PipesClientCompletedInvocation(job.session, metadata=job.metadata)

    @contextmanager
    def open(  # noqa: PLR0913
        self,
        *,
        context: dg.OpExecutionContext | dg.AssetExecutionContext,
        task: AnyTask,
        name: str | None = None,
        pool: str | None = None,
        extras: PipesExtras | None = None,
        envs: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> Iterator[PipesSkyPilotJob]:
        """`run` step by step, to use what the program reports before the job has ended:

            with client.open(context=context, task="train.yaml") as job:
                for state in job.updates():
                    ...  # job.session.get_custom_messages(), job.machine
            job.require_success()

        Arguments and errors are those of `run`.
        """
        prefix = names.of_work(context.instance, name or names.default(context))
        left = _left(prefix)
        job_name = left.name if left else names.of_job(prefix, context)
        reader = PipesObjectStoreMessageReader(open_store(self.messages), f"pipes/{job_name}")
        with dg.open_pipes_session(
            context=context,
            context_injector=self.context_injector,
            message_reader=reader,
            extras=extras,
        ) as session:
            try:
                if left is None:
                    all_envs = {**(envs or {}), **session.get_bootstrap_env_vars()}
                    sky_job = jobs.launch(task, job_name, pool=pool, envs=all_envs, secrets=secrets)
                else:
                    sky_job = left.id
                _tell(context, sky_job, job_name, attached=left is not None)
                yield PipesSkyPilotJob(context, session, reader, jobs.state(sky_job), self._manner)
            except (dg.DagsterExecutionInterruptedError, KeyboardInterrupt, GeneratorExit):
                # Otherwise Dagster is stopped or the run failed: its retry re-attaches.
                if self.forward_termination and is_canceled(context):
                    _cancel(context, job_name)
                raise


def _left(prefix: str) -> JobState | None:
    """The unfinished job that does the work already, if there is one."""
    found = (job for job in jobs.unfinished(prefix) if names.is_of_work(job.name, prefix))
    return next((job for job in found if job.attachable), None)


def _tell(
    context: dg.OpExecutionContext | dg.AssetExecutionContext,
    sky_job: int,
    name: str,
    *,
    attached: bool,
) -> None:
    context.instance.add_run_tags(context.run.run_id, {JOB_TAG: str(sky_job)})
    how = "re-attached to" if attached else "launched"
    context.log.info(f"{how} SkyPilot job {sky_job} ({name}): {jobs.dashboard(sky_job)}")


def _cancel(context: dg.OpExecutionContext | dg.AssetExecutionContext, name: str) -> None:
    ids = [job.id for job in jobs.unfinished(name) if job.name == name]
    if ids:
        jobs.cancel(ids)
        context.log.info(f"cancelled SkyPilot job {ids[0]}")
