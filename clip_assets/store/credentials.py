"""Where credentials of a cloud are looked for, for those who have none that work."""

import os

from clip_assets.store import aws

_OF_GOOGLE = (
    "GOOGLE_APPLICATION_CREDENTIALS, GOOGLE_SERVICE_ACCOUNT_KEY, the login of `gcloud auth "
    "application-default login`, and the machine's service account"
)
_OF_AZURE = (
    "AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_KEY beside AZURE_STORAGE_ACCOUNT_NAME, "
    "AZURE_CLIENT_ID with its secret, and the machine's managed identity"
)


def looked_for(uri: str) -> str:
    """All that was tried for this address, each with what was found of it."""
    if uri.startswith(("gs://", "gcs://")):
        return _OF_GOOGLE
    if not aws.is_s3(uri):
        return _OF_AZURE
    keys = "set" if "AWS_ACCESS_KEY_ID" in os.environ else "not set"
    return f"AWS_ACCESS_KEY_ID ({keys}), {aws.profile_told()}, and the machine's role"
