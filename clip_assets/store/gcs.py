"""Lists keys in Google Cloud Storage that are not valid paths, which obstore cannot."""

import json
import os
from collections.abc import Iterator
from typing import Any

from clip_assets.store import aws

_SCOPES = ["https://www.googleapis.com/auth/devstorage.read_only"]


def is_gcs(root: str) -> bool:
    return root.startswith(("gs://", "gcs://"))


def keys(root: str, after: str) -> Iterator[aws.Key]:
    """The objects below `root` whose key sorts after `after`, with their exact keys.

    Raises ImportError without google-auth, its GoogleAuthError, or an error of botocore.
    """
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config
    from google.auth.transport.requests import Request

    credentials, transport = _credentials(), Request()

    def sign(request: Any, **_: object) -> None:
        credentials.before_request(transport, request.method, request.url, request.headers)

    # The store's XML API lists like S3, and returns the same etags as obstore.
    client = boto3.client(
        "s3",
        region_name="auto",
        endpoint_url=os.environ.get("GOOGLE_BASE_URL", "https://storage.googleapis.com"),
        config=Config(signature_version=UNSIGNED, s3={"addressing_style": "path"}),
    )
    client.meta.events.register("before-send.s3", sign)
    yield from aws.listed(client, root, after)


def _credentials() -> Any:
    """The credentials that obstore would use, in its order."""
    import google.auth
    from google.auth.credentials import AnonymousCredentials
    from google.oauth2 import service_account

    variable = os.environ.get
    if variable("GOOGLE_SKIP_SIGNATURE", "").lower() in ("1", "true"):
        return AnonymousCredentials()
    account = service_account.Credentials
    if path := variable("GOOGLE_SERVICE_ACCOUNT") or variable("GOOGLE_SERVICE_ACCOUNT_PATH"):
        return account.from_service_account_file(path, scopes=_SCOPES)
    if key := variable("GOOGLE_SERVICE_ACCOUNT_KEY"):
        return account.from_service_account_info(json.loads(key), scopes=_SCOPES)
    return google.auth.default(scopes=_SCOPES)[0]
