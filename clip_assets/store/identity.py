"""The identity of a collection's data: a file beside it, made once.

It is copied and moved with the data, so data under a new address is still the same data, and other
data under the same name is not.
"""

import uuid
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, ValidationError

from clip_assets.errors import StoreError
from clip_assets.store import paths
from clip_assets.store.objects import Objects


class DataIdentity(BaseModel):
    """A random id, and when it was created."""

    model_config = ConfigDict(frozen=True)

    data_id: str
    made_at: datetime


def data_id(objects: Objects) -> str:
    """The id of this data; the first call creates it.

    Raises StoreError if the file cannot be read or written.
    """
    try:
        return _read(objects)
    except FileNotFoundError:
        made = DataIdentity(data_id=str(uuid.uuid4()), made_at=datetime.now(UTC))
        objects.create(paths.IDENTITY, made.model_dump_json(indent=1).encode())
        return _read(objects)  # another process may have been first


def _read(objects: Objects) -> str:
    try:
        return DataIdentity.model_validate_json(objects.get(paths.IDENTITY)).data_id
    except ValidationError as error:
        raise StoreError(
            f"{objects.uri(paths.IDENTITY)} is not the identity of a collection's data. Restore it "
            "from a copy of the data; or remove it, then hand the index over with `clip-assets "
            "verify --repair`."
        ) from error
