"""The settings of one service, from the environment (`CLIP_ASSETS_SERVING_…`) or `.env`."""

import re
from pathlib import Path
from typing import Annotated

from limits import parse
from pydantic import AfterValidator, AnyHttpUrl, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from clip_assets import project
from clip_assets.errors import SettingsError
from clip_assets.processors import available
from clip_assets.settings import Settings, env_files


def _is_rate(text: str | None) -> str | None:
    if text:
        parse(text)  # raises ValueError
    return text or None


Rate = Annotated[str | None, AfterValidator(_is_rate)]


class ServingSettings(BaseSettings):
    """Limits of one search service. Sizes are bytes, times are seconds."""

    model_config = SettingsConfigDict(
        env_prefix="CLIP_ASSETS_SERVING_",
        extra="ignore",
    )

    collection: str | None = Field(None, description="default: the one released first")
    dsn: SecretStr | None = Field(None, description="default: DATABASE_URL, or embedded Postgres")
    read_only: bool = Field(False, description="refuse judgements and erasures")
    device: str | None = Field(None, description="default: CUDA if available, else CPU")
    dagster_url: AnyHttpUrl | None = Field(None, description="address of the UI, to link run ids")
    examples: tuple[str, ...] = (
        "a photo of a cloud",
        "a red fruit",
        "an animal that lives in the sea",
        "a vehicle with wheels",
        "the night sky",
    )

    note: str | None = Field(
        None, description="one line shown on the page, about the collection or model"
    )

    workers: int = Field(1, ge=1, description="processes that share the port and the model")

    auth: bool = Field(False, description="require API keys, as on any address but loopback")
    keys: Path = Field(
        default_factory=lambda: Settings().keys_file, description="default: CLIP_ASSETS_KEYS"
    )
    rate_per_key: Rate = Field(None, description="requests, such as 600/minute; more get 429")
    rate_per_address: Rate = Field(None, description="the same, for a service without keys")
    cors_origins: tuple[str, ...] = Field(
        (), description="other sites whose scripts may use the API, such as https://example.com"
    )
    trusted_proxies: tuple[str, ...] = Field(
        (), description="addresses or networks whose X-Forwarded-For and -Proto are trusted"
    )

    originals: tuple[str, ...] = Field(
        (),
        description="serve original images whose URI is below one of these folders, bucket "
        "prefixes or datasets of the hub",
    )
    original_bytes: int = Field(64 * 2**20, ge=1, description="larger originals are not served")

    path_prefix: Annotated[str, BeforeValidator(lambda prefix: prefix.rstrip("/"))] = Field(
        "", pattern="^(/[^/?#]+)*$", description="path of the service behind a proxy, such as /clip"
    )
    deadline_seconds: float = Field(3.0, gt=0, description="from a complete request to its answer")
    connections: int = Field(1_000, ge=1, description="fewer if the process may open fewer files")
    head_seconds: float = Field(10.0, gt=0, description="time for a client to send its header")
    read_seconds: float = Field(30.0, gt=0, description="how long a client may stop reading")
    admitted_searches: int = Field(32, ge=1, description="answered at once; more get 503")
    admitted_uploads: int = Field(8, ge=1, description="the same for searches by an upload")
    admitted_reads: int = Field(128, ge=1, description="the same for records and thumbnails")
    erase_seconds: float = Field(20.0, gt=0, description="then DELETE answers 202 and continues")
    body_seconds: float = Field(30.0, gt=0, description="time for a client to send its body")
    upload_bytes: int = Field(8 * 2**20, ge=1)
    upload_pixels: int = Field(4_000_000, ge=1, description="to decode, at 13 bytes each")
    upload_jpeg_pixels: int = Field(
        50_000_000, ge=1, description="of a JPEG, which is decoded at a fraction of its size"
    )

    # The other processors are for the event loop and Postgres. With a thread for each processor,
    # batches are smaller and everything waits for a processor.
    encoder_threads: int = Field(
        default_factory=lambda: max(1, available() // 2), ge=1, description="threads for texts"
    )
    # At 5, the event loop gets three times the encoder's share of a processor that both compete
    # for; otherwise refusals and `/livez` wait behind encodings.
    encoder_nice: int = Field(5, ge=0, le=19, description="nice value of the encoder's threads")
    encoder_batch: int = Field(16, ge=1, description="texts that a thread encodes together")
    encoder_waiting: int = Field(16, ge=0, description="texts, rounded up to whole batches")
    upload_threads: int = Field(1, ge=1, description="separate from the threads for texts")
    upload_waiting: int = Field(4, ge=0)
    text_cache: int = Field(1_000, ge=0, description="text vectors cached per model")

    pool_size: int = Field(8, ge=1)
    database_waiting: int = Field(64, ge=0)
    acquire_seconds: float = Field(0.5, gt=0, description="wait for a connection of the pool")
    probe_seconds: float = Field(0.2, gt=0, description="a healthy database's time for a probe")
    # One slow answer is not an outage, but two failed probes a second apart are.
    silence_seconds: float = Field(2.0, gt=0, description="without a probe, reported unready")

    refresh_seconds: float = Field(1.0, gt=0, description="between polls of the live release")
    other_model_minutes: float = Field(
        10.0,
        ge=0,
        description="an earlier release's model is kept so long after its last use; 0: none",
    )
    load_retry_seconds: float = Field(30.0, gt=0, description="before loading a model again")
    drain_seconds: float = Field(2.0, ge=0, description="reported unready before shutdown")
    private: bool = Field(False, description="keep thumbnails out of shared caches")

    def gives(self, uri: str) -> bool:
        """Whether clients may get the original image at this address of the catalog.

        `originals` may name a dataset of the hub with a revision or, for all revisions, without.
        """
        if not self.originals:
            return False
        plain = re.sub(r"^(hf://datasets/[^/@]+/[^/@]+)@[^/]+", r"\1", uri)
        below = [f"{one.rstrip('/')}/" for one in self.originals]
        return any(one.startswith(start) for one in {uri, plain} for start in below)


def from_environment() -> ServingSettings:
    """The settings of this process. Raises SettingsError that names each invalid one."""
    try:
        found = project.find()
        return ServingSettings(_env_file=env_files(found.root if found else None))
    except ValidationError as error:
        prefix = ServingSettings.model_config["env_prefix"]
        faults = [
            f"{prefix}{fault['loc'][0]}".upper() + f": {fault['msg']}" for fault in error.errors()
        ]
        raise SettingsError(f"Invalid settings: {'; '.join(faults)}.") from error
