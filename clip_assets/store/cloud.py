"""Opens a bucket in S3, GCS or Azure through obstore, with the user's credentials."""

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from obstore.store import ObjectStore, from_url

from clip_assets.errors import StoreError
from clip_assets.store import aws, azure
from clip_assets.store.cloud_errors import explained

if TYPE_CHECKING:
    from obstore.store import ClientConfig

TIMEOUT = 120  # seconds of one request, with its answer
_CLOUDS = {"s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss"}


def opened(root: str) -> ObjectStore:
    """The store at an address such as `s3://bucket/prefix`. Raises StoreError."""
    scheme = root.split("://", maxsplit=1)[0]
    if scheme not in _CLOUDS:
        raise StoreError(
            f"{root}: unknown scheme {scheme}://; use a folder, s3://, gs:// or az://."
        )
    with explained(root):
        return from_url(
            _quoted(root),
            client_options=client_options(),
            # With the time of the last request, still within the deadline of one image.
            retry_config={"max_retries": 4, "retry_timeout": timedelta(seconds=TIMEOUT)},
            **_credentials(root),
        )


def client_options() -> "ClientConfig":
    """Client options for a store. Plain HTTP is allowed only for your own server at http://."""
    own = ("AWS_ENDPOINT_URL", "GOOGLE_BASE_URL", "AZURE_STORAGE_ENDPOINT")
    plain = any(os.environ.get(name, "").startswith("http://") for name in own)
    return {"allow_http": plain, "timeout": f"{TIMEOUT}s"}


def _quoted(root: str) -> str:
    """The address as a URL, with characters quoted that are special in URLs but not in keys."""
    scheme, _, rest = root.partition("://")
    bucket, slash, prefix = rest.partition("/")
    return f"{scheme}://{bucket}{slash}{quote(prefix)}"


def _credentials(root: str) -> dict[str, Any]:
    provider = aws.profile_credentials() if aws.is_s3(root) else None
    if provider:
        return {"credential_provider": provider}
    # obstore asks `az` for a token unless the environment has credentials.
    return {"use_azure_cli": True} if azure.is_azure(root) and azure.logged_in() else {}
