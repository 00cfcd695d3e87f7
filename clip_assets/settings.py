"""Settings of one installation, read from the environment, `.env` and `~/.env`.

By default everything is in one folder, `.clip_assets` in the project: parquet, the embedded
Postgres and Dagster's own storage. `DATABASE_URL` moves the database elsewhere, and
`CLIP_ASSETS_DATA` the files; each works without the other.
"""

from functools import cached_property
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """Where this installation stores its data, and how it connects to it."""

    model_config = SettingsConfigDict(
        env_prefix="CLIP_ASSETS_",
        env_file=(Path.home() / ".env", PROJECT / ".env"),
        extra="ignore",
        populate_by_name=True,
    )

    home: Path = PROJECT / ".clip_assets"
    data: str | None = Field(None, description="URI of the parquet: a folder or a bucket prefix")
    database_url: SecretStr | None = Field(None, validation_alias="DATABASE_URL")
    allow_old_pgvector: bool = Field(
        False, description="use pgvector 0.8.0 to 0.8.3, which can damage an index"
    )
    search_url: str | None = Field(None, description="the search page that releases link to")
    hf_token: SecretStr | None = Field(None, validation_alias="HF_TOKEN")

    @cached_property
    def data_uri(self) -> str:
        """URI under which catalogs and embeddings are written."""
        return self.data or str(self.home.resolve() / "data")

    def collection_uri(self, collection: str) -> str:
        """URI below which all files of one collection are stored."""
        return f"{self.data_uri.rstrip('/')}/{collection}"

    @property
    def postgres_folder(self) -> Path:
        """Data directory of the embedded Postgres; unused if `DATABASE_URL` is set."""
        return self.home.resolve() / "postgres"

    @property
    def dagster_home(self) -> Path:
        return self.home.resolve() / "dagster"
