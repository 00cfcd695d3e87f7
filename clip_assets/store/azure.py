"""What obstore lacks for Azure: the login of `az login`, and keys that are not valid paths."""

import json
import os
from collections.abc import Iterator
from itertools import dropwhile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from clip_assets.store.aws import Key

_KEYS = ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_MASTER_KEY")
_SIGNATURES = ("AZURE_STORAGE_SAS_KEY", "AZURE_STORAGE_SAS_TOKEN")
_ENDPOINTS = ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")


def is_azure(root: str) -> bool:
    return root.startswith(("az://", "azure://", "abfs://", "abfss://"))


def logged_in() -> bool:
    """Whether somebody is logged in with `az login` on this machine."""
    folder = Path(os.environ.get("AZURE_CONFIG_DIR", "~/.azure")).expanduser()
    try:
        # The tool writes a byte order mark.
        profile = json.loads((folder / "azureProfile.json").read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return False
    return bool(profile.get("subscriptions"))


def keys(root: str, after: str) -> Iterator[Key]:
    """The objects below `root` that are listed after `after`, with their exact keys.

    Raises ImportError without azure-storage-blob, or its AzureError.
    """
    from azure.storage.blob import ContainerClient

    address = urlsplit(root)
    container, at, host = address.netloc.rpartition("@")
    if not at:
        container, host = host, ""
    account = host.partition(".")[0] or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME", "")
    endpoint = _first(_ENDPOINTS) or f"https://{account}.blob.core.windows.net"
    # From `root`, not from `address`: characters that are special in URLs are part of a key.
    prefix = root.partition("://")[2].partition("/")[2]
    prefix = f"{prefix}/" if prefix else ""
    client = ContainerClient(endpoint, container, _credential(account))
    found: Iterator[Key] = (
        Key(blob.name.removeprefix(prefix), blob.size, (blob.etag or "").strip('"'))
        for blob in client.list_blobs(name_starts_with=prefix)
    )
    if after:
        found = dropwhile(lambda key: key.name != after, found)
        next(found, None)
    yield from found


def _credential(account: str) -> Any:
    """The credentials that obstore would use, in its order."""
    if os.environ.get("AZURE_SKIP_SIGNATURE", "").lower() in ("1", "true"):
        return None
    if key := _first(_KEYS):
        return {"account_name": account, "account_key": key}
    if signature := _first(_SIGNATURES):
        return signature
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential()


def _first(names: tuple[str, ...]) -> str | None:
    return next((os.environ[name] for name in names if name in os.environ), None)
