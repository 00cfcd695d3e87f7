"""What obstore does not do on S3: credentials from ~/.aws, and keys that it cannot address."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_assets.errors import StoreError

if TYPE_CHECKING:
    from obstore.auth.boto3 import Boto3CredentialProvider


def is_s3(root: str) -> bool:
    return root.startswith(("s3://", "s3a://"))


def profile_credentials() -> "Boto3CredentialProvider | None":
    """Credentials of the profile in ~/.aws, such as one of SSO; None if there is none.

    Variables of the environment come first and obstore reads them itself, as it does the
    credentials of a machine's role.
    """
    if "AWS_ACCESS_KEY_ID" in os.environ or not _has_profiles():
        return None
    import boto3  # takes a quarter of a second to import
    from botocore.exceptions import BotoCoreError
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        return Boto3CredentialProvider(boto3.Session())
    except (BotoCoreError, ValueError):  # no such profile, or one without credentials
        return None


def profile_told() -> str:
    """Which profile of ~/.aws was looked for, in words, and how to renew one that does not work."""
    name = os.environ.get("AWS_PROFILE", "default")
    if not _has_profiles():
        return f"profile `{name}` (there is no ~/.aws)"
    import botocore.session

    profiles = botocore.session.Session().full_config["profiles"]
    if name not in profiles:
        return f"profile `{name}` in ~/.aws (it is not there; set AWS_PROFILE)"
    return f"profile `{name}` in ~/.aws (`aws sso login --profile {name}` renews one of SSO)"


def keys(root: str, after: str) -> Iterator[tuple[str, int, str]]:
    """Key below `root`, size in bytes and etag of each object whose key sorts after `after`.

    Yields keys as they are, also with empty segments or control characters. Raises StoreError.
    """
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, prefix = root.partition("://")[2].partition("/")
    prefix = f"{prefix}/" if prefix else ""
    try:
        client: Any = boto3.client("s3", region_name=os.environ.get("AWS_REGION"))
        pages = client.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=prefix, StartAfter=prefix + after
        )
        for page in pages:
            for found in page.get("Contents", ()):
                yield found["Key"].removeprefix(prefix), found["Size"], found["ETag"].strip('"')
    except (BotoCoreError, ClientError) as error:
        raise StoreError(
            f"{root}: it has keys that are no usable paths, and listing them failed "
            f"({error}). Run again, or give a prefix without them."
        ) from error


def odd_segment(path: str) -> str:
    """What makes the key unusable as a path, in words; empty if nothing does."""
    segments = path.split("/")
    if "" in segments:
        return "an empty segment"
    if any(segment in (".", "..") for segment in segments):
        return "a segment `.` or `..`"
    return "a control character" if any(ord(c) < 32 or ord(c) == 127 for c in path) else ""


def _has_profiles() -> bool:
    files = (
        os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
        os.environ.get("AWS_CONFIG_FILE", "~/.aws/config"),
    )
    return any(Path(name).expanduser().is_file() for name in files)
