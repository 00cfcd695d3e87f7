"""Explains obstore's errors, each in one sentence with a remedy."""

from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError, PreconditionError

from clip_assets.errors import ObjectRefusedError, StoreError, UnansweredError
from clip_assets.store import credentials

# obstore distinguishes these by text only. The last three are the clouds' metadata services,
# which are tried when no other credentials are set.
_NO_BUCKET = ("NoSuchBucket", "bucket does not exist", "ContainerNotFound")
_NO_CREDENTIALS = (
    "redential",
    "SSO",
    "403 Forbidden",
    "169.254.169.254",
    "/latest/api/token",
    "/computeMetadata/",
    "azure cli",
    "token request",
)
ACCESS_DENIED = "access denied; change the bucket's policy, or use other credentials"
# The store's answer about one object, which says nothing about the others.
_REFUSALS = {
    "InvalidObjectState": "archived; restore it from the archive first",
    "BlobArchived": "archived; rehydrate it first",
    "AccessDenied": ACCESS_DENIED,
}


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """Replace obstore's errors by one sentence with a remedy."""
    try:
        yield
    except (AlreadyExistsError, NotSupportedError, PreconditionError):
        raise
    except (BaseError, OSError) as error:
        if isinstance(error, StoreError):
            raise
        text = str(error).split("\n\nDebug source")[0].replace("\n", " ")
        if any(word in text for word in _NO_BUCKET):
            remedy = "The bucket does not exist. Check its name and region."
        elif isinstance(error, FileNotFoundError):
            raise
        elif refusal := next((say for word, say in _REFUSALS.items() if word in text), None):
            raise ObjectRefusedError(f"{uri}: {refusal}") from error
        elif any(word in text for word in _NO_CREDENTIALS):
            remedy = f"No usable credentials. Looked for {credentials.looked_for(uri)}."
        else:
            remedy = "Check the address and the network, then run again."
            raise UnansweredError(f"{uri}: {remedy} ({text[:300]})") from error
        raise StoreError(f"{uri}: {remedy} ({text[:300]})") from error
