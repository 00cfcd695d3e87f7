"""Errors shown to users. Each message is a sentence that names the remedy."""


class ClipAssetsError(Exception):
    """Base of every error whose text is shown to users unchanged."""


class SettingsError(ClipAssetsError):
    """A setting or a line of YAML cannot be used."""


class SourceError(ClipAssetsError):
    """The collection's images cannot be listed or read."""


class StoreError(ClipAssetsError):
    """Files under the data URI are missing, unreachable or differ from their commit."""


class DamageError(StoreError):
    """A committed file is missing, or is not the one that was committed.

    `what` is the message without the remedy.
    """

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return f"{self.what} Run `clip-assets verify --repair`; it repairs this or says how to."


class ObjectRefusedError(StoreError, PermissionError):
    """The store refuses this one object: it is archived, or a policy denies access to it."""


class UnansweredError(StoreError, TimeoutError):
    """The store gives no answer about one object. It may answer about others."""


class ModelError(ClipAssetsError):
    """The model cannot be loaded, or is not the requested one."""


class DatabaseError(ClipAssetsError):
    """Postgres cannot be reached or lacks what the index needs."""


class NeverMigratedError(DatabaseError):
    """The database has no clip_assets schema: nothing was ever stored in it."""


class FilterError(ClipAssetsError):
    """A filter asks for a column that is not declared, or for what such a column cannot hold."""


class TermsError(ClipAssetsError):
    """The terms of a query cannot be searched for together."""


class SheetError(ClipAssetsError):
    """A CSV file of judgements cannot be read."""


class ReleaseError(ClipAssetsError):
    """An index cannot be published, or no release is live."""


class JobError(ClipAssetsError):
    """An embedding job ended without committing all its shards."""


class HopelessJobError(JobError):
    """An embedding job that would fail again if retried unchanged."""
