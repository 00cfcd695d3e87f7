"""Settings of one installation, read from the environment, `.env` and `~/.env`.

By default everything is in one folder, `.clip_assets` in the Dagster project: parquet, the embedded
Postgres and Dagster's own storage. `DATABASE_URL` moves the database elsewhere, and
`CLIP_ASSETS_DATA` the files; each works without the other.
"""

import os
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from clip_assets import project
from clip_assets.errors import SettingsError
from clip_assets.home import expanded


def env_files(root: Path | None) -> tuple[Path, ...]:
    """`~/.env`, and the project's `.env`, whose values take precedence."""
    of_user: list[Path] = []
    with suppress(RuntimeError):  # a container's user may have no home
        of_user.append(Path.home() / ".env")
    return (*of_user, *([root / ".env"] if root else []))


_PLATFORMS = (
    "KUBERNETES_SERVICE_HOST",
    "ECS_CONTAINER_METADATA_URI_V4",
    "DAGSTER_CLOUD_DEPLOYMENT_NAME",
)
"""Variables that these platforms set in every container."""
_APART = (
    "The processes of this deployment do not share a disk, so they could not all reach an embedded "
    "Postgres or a local data folder: set DATABASE_URL to a Postgres and CLIP_ASSETS_DATA to a "
    "bucket. If they do share CLIP_ASSETS_HOME, set CLIP_ASSETS_SHARED_DISK=true."
)


class Settings(BaseSettings):
    """Where this installation stores its data, and how it connects to it."""

    model_config = SettingsConfigDict(
        env_prefix="CLIP_ASSETS_",
        extra="ignore",
        populate_by_name=True,
    )

    home: Path | None = Field(None, description="default: `.clip_assets` in the project")
    data: str | None = Field(None, description="URI of the parquet: a folder or a bucket prefix")
    database_url: SecretStr | None = Field(None, validation_alias="DATABASE_URL")
    allow_old_pgvector: bool = Field(
        False, description="use pgvector 0.8.0 to 0.8.3, which can damage an index"
    )
    search_url: str | None = Field(None, description="the search page that releases link to")
    hf_token: SecretStr | None = Field(None, validation_alias="HF_TOKEN")
    keys: Path | None = Field(None, description="the file of the search service's API keys")
    shared_disk: bool = Field(
        default_factory=lambda: not any(name in os.environ for name in _PLATFORMS),
        description="whether all processes see the same files; by default they do, except on "
        "Kubernetes, ECS and Dagster+",
    )

    _root: Path | None = PrivateAttr(None)

    @property
    def root(self) -> Path | None:
        """The project's folder, if there is a project."""
        return self._root

    def __init__(self, root: Path | None = None, **given: Any) -> None:
        """`root` is the project's folder; default: the project that the current folder is in."""
        if root is None and (found := project.find()):
            root = found.root
        try:
            super().__init__(**{"_env_file": env_files(root), **given})
        except ValidationError as error:
            faults = [f"{_variable(fault['loc'])}: {fault['msg']}" for fault in error.errors()]
            raise SettingsError(f"Invalid settings: {'; '.join(faults)}.") from error
        except UnicodeDecodeError as error:
            files = " or ".join(str(file) for file in env_files(root))
            raise SettingsError(f"{files} is not text in UTF-8. Save it as that.") from error
        self._root = root

    def require_reachable(self) -> None:
        """Raises SettingsError if other machines of the deployment could not reach the data."""
        if not self.shared_disk and self.database_url is None:
            raise SettingsError(_APART)
        _ = self.data_uri

    @cached_property
    def folder(self) -> Path:
        """The folder of everything that has no setting of its own.

        Raises SettingsError if there is neither a project nor CLIP_ASSETS_HOME.
        """
        if self.home is not None:
            return expanded(self.home).resolve()
        if self._root is None:
            raise SettingsError(
                f"{project.current_folder()} is in no Dagster project, so there is no folder for "
                "data. "
                f"{project.REMEDY} Without a project, set CLIP_ASSETS_HOME to a folder."
            )
        return self._root.resolve() / ".clip_assets"

    @property
    def workplace(self) -> Path:
        """The folder of caches and other replaceable files; in `~/.cache` without a project."""
        if self.home is None and self._root is None:
            return expanded("~/.cache/clip_assets")
        return self.folder

    @property
    def keys_file(self) -> Path:
        """The file of the search service's API keys."""
        return self.keys or self.workplace / "keys.json"

    @cached_property
    def data_uri(self) -> str:
        """URI under which catalogs and embeddings are written.

        Raises SettingsError if it would be a local folder that other machines cannot reach.
        """
        if not self.shared_disk and (self.data is None or "://" not in self.data):
            raise SettingsError(_APART)
        return self.data or str(self.folder / "data")

    def collection_uri(self, collection: str) -> str:
        """URI below which all files of one collection are stored."""
        return f"{self.data_uri.rstrip('/')}/{collection}"

    @property
    def postgres_folder(self) -> Path:
        """Data directory of the embedded Postgres; unused if `DATABASE_URL` is set.

        Raises SettingsError if it would be a local folder that other machines cannot reach.
        """
        if not self.shared_disk:
            raise SettingsError(_APART)
        return self.folder / "postgres"

    @property
    def dagster_home(self) -> Path:
        return self.folder / "dagster"


def _variable(place: tuple[int | str, ...]) -> str:
    """The variable of the environment that a fault is about."""
    name = str(place[0]).upper()
    return name if name in ("DATABASE_URL", "HF_TOKEN") else f"CLIP_ASSETS_{name}"
