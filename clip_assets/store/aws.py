"""What obstore lacks for S3: credentials from ~/.aws, and keys that are not valid paths."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from obstore.auth.boto3 import Boto3CredentialProvider


class Key(NamedTuple):
    """One object's key below a root, its size in bytes and its etag."""

    name: str
    size: int
    etag: str


def is_s3(root: str) -> bool:
    return root.startswith(("s3://", "s3a://"))


def profile_credentials() -> "Boto3CredentialProvider | None":
    """Credentials of the profile in ~/.aws, such as an SSO profile; None if there is none.

    obstore itself reads environment variables, which take precedence, and the credentials of a
    machine's role.
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


def profile_message() -> str:
    """Which profile in ~/.aws was tried, in words, and how to renew it if it does not work."""
    name = os.environ.get("AWS_PROFILE", "default")
    if not _has_profiles():
        return f"profile `{name}` (there is no ~/.aws)"
    import botocore.session

    profiles = botocore.session.Session().full_config["profiles"]
    if name not in profiles:
        return f"profile `{name}` in ~/.aws (it is not there; set AWS_PROFILE)"
    return f"profile `{name}` in ~/.aws (`aws sso login --profile {name}` renews an SSO login)"


def keys(root: str, after: str) -> Iterator[Key]:
    """The objects below `root` whose key sorts after `after`, with their exact keys.

    Raises botocore's BotoCoreError or ClientError.
    """
    import boto3

    client = boto3.client("s3", region_name=os.environ.get("AWS_REGION"))
    yield from listed(client, root, after)


def listed(client: Any, root: str, after: str) -> Iterator[Key]:
    """The objects as `keys` yields them, from a boto3 client of any store with S3's listing."""
    bucket, _, prefix = root.partition("://")[2].partition("/")
    prefix = f"{prefix}/" if prefix else ""
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=prefix, StartAfter=prefix + after
    )
    for page in pages:
        for found in page.get("Contents", ()):
            yield Key(found["Key"].removeprefix(prefix), found["Size"], found["ETag"].strip('"'))


def _has_profiles() -> bool:
    files = (
        os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
        os.environ.get("AWS_CONFIG_FILE", "~/.aws/config"),
    )
    return any(Path(name).expanduser().is_file() for name in files)
