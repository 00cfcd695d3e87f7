"""Where credentials of a cloud were looked for, for the error if none work."""

import os

from clip_assets.store import aws, azure, gcs

_OF_GOOGLE = (
    "GOOGLE_APPLICATION_CREDENTIALS, GOOGLE_SERVICE_ACCOUNT_KEY, the login of `gcloud auth "
    "application-default login`, and the machine's service account"
)
_OF_AZURE = (
    "AZURE_STORAGE_ACCOUNT_KEY ({key}) or AZURE_STORAGE_SAS_KEY beside AZURE_STORAGE_ACCOUNT_NAME, "
    "AZURE_CLIENT_ID with its secret, {login}, and the machine's managed identity"
)


def looked_for(uri: str) -> str:
    """Every place that was tried for this address, with what was found there."""
    if gcs.is_gcs(uri):
        return _OF_GOOGLE
    if not aws.is_s3(uri):
        login = "" if azure.logged_in() else " (there is none)"
        return _OF_AZURE.format(
            key=_set("AZURE_STORAGE_ACCOUNT_KEY"), login=f"the login of `az login`{login}"
        )
    return (
        f"AWS_ACCESS_KEY_ID ({_set('AWS_ACCESS_KEY_ID')}), {aws.profile_message()}, "
        "and the machine's role"
    )


def _set(name: str) -> str:
    return "set" if name in os.environ else "not set"
