"""Bytes under a URI: a folder, or a prefix in S3, GCS or Azure, through obstore.

A write is either complete or absent.
"""

import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    InvalidPathError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
)
from obstore.store import LocalStore, ObjectStore

from clip_assets.errors import ObjectRefusedError, StoreError, UnansweredError
from clip_assets.store import cloud, odd_keys
from clip_assets.store.address import is_remote, local_path
from clip_assets.store.atomic import (
    NOT_SUPPORTED,
    TEMPORARY,
    alone_in,
    remove_empty_folders,
    whole_file,
)
from clip_assets.store.cloud_errors import ACCESS_DENIED, explained
from clip_assets.store.entry import Entry, local_entry, remote_entry
from clip_assets.store.local_files import (
    list_files,
    open_regular,
    read_file,
    refuse_larger,
    status_of,
)

if TYPE_CHECKING:
    from obstore import UpdateVersion


class Objects:
    """The objects below one root URI.

    Methods raise FileNotFoundError for a missing object, and StoreError for any other failure: an
    unknown scheme, missing credentials, a missing bucket, an error of the store. Its subclasses
    ObjectRefusedError and UnansweredError concern one object.
    """

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        self._store: ObjectStore
        if is_remote(root):
            self.folder: Path | None = None
            self._store = cloud.opened(self.root)
        else:
            self.folder = local_path(root).resolve()
            self._store = LocalStore(self.folder) if self.folder.is_dir() else LocalStore()

    def uri(self, path: str) -> str:
        """Absolute URI of `path`: a plain path on a local disk, else with scheme and bucket."""
        return str(self.folder / path) if self.folder else f"{self.root}/{path}"

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Entries below `prefix` in no particular order, without temporary files."""
        if self.folder:
            yield from list_files(self.folder, prefix)
            return
        last = ""
        with explained(self.uri(prefix)):
            try:
                for batch in obstore.list(self._store, prefix or None):
                    for meta in batch:
                        last = meta["path"]
                        yield remote_entry(last, meta)
            except InvalidPathError as error:
                yield from self._list_odd(prefix, last, error)

    def _list_odd(self, prefix: str, last: str, error: InvalidPathError) -> Iterator[Entry]:
        """Continue after `last`, with each key that obstore cannot address as a faulty entry."""
        if prefix:
            raise StoreError(
                f"{self.uri(prefix)}: a key is not a usable path ({str(error)[:200]}). Rename it, "
                "or give a prefix without it."
            ) from error
        for name, size, etag in odd_keys.keys(self.root, last):
            if name.endswith("/") and not size:
                continue  # the marker of an empty folder
            odd = odd_keys.oddity(name)
            fault = f"its key has {odd}, so it cannot be read; copy it to a plain key"
            yield Entry(name, size, etag, fault if odd else None)

    def get(self, path: str, limit: int | None = None) -> bytes:
        """The whole object. Raises OSError before reading if it is larger than `limit` bytes."""
        if self.folder:
            return read_file(self.folder / path, limit)
        with explained(self.uri(path)):
            answer = obstore.get(self._store, path)
        refuse_larger(answer.meta["size"], limit)
        with explained(self.uri(path)):
            return bytes(answer.bytes())

    def stat(self, path: str) -> Entry:
        """Size and version tag of one object, as `list` returns them."""
        if self.folder:
            status = (self.folder / path).stat()
            if not stat.S_ISREG(status.st_mode):
                raise OSError("not a regular file")
            return local_entry(path, status)
        with explained(self.uri(path)):
            try:
                meta = obstore.head(self._store, path)
            except PermissionDeniedError as error:  # the answer to HEAD has no text
                raise ObjectRefusedError(f"{self.uri(path)}: {ACCESS_DENIED}") from error
        return remote_entry(path, meta)

    def get_range(self, path: str, offset: int, size: int) -> bytes:
        """`size` bytes starting at `offset`."""
        if self.folder:
            with open_regular(self.folder / path) as file:
                file.seek(offset)
                return file.read(size)
        with explained(self.uri(path)):
            return bytes(obstore.get_range(self._store, path, start=offset, length=size))

    def open(self, path: str) -> IO[bytes]:
        """A local file, for random access. Raises OSError at once if it is a pipe or a device."""
        assert self.folder, "only for a local folder"
        return open_regular(self.folder / path)

    @contextmanager
    def on_disk(self, path: str) -> Iterator[Path]:
        """The object as a local file; if it is remote, a temporary copy."""
        if self.folder:
            yield self.folder / path
            return
        with tempfile.NamedTemporaryFile(prefix=TEMPORARY) as copy:
            with explained(self.uri(path)):
                for chunk in obstore.get(self._store, path).stream():
                    copy.write(chunk)
            copy.flush()
            yield Path(copy.name)

    def put(self, path: str, data: bytes) -> None:
        """Write or replace `path` atomically."""
        if self.folder:
            with whole_file(self.folder / path, data) as temporary:
                temporary.replace(self.folder / path)
            return
        with explained(self.uri(path)):
            obstore.put(self._store, path, data)

    def create(self, path: str, data: bytes) -> bool:
        """Write `path` unless it exists; returns False if another writer was first."""
        if self.folder:
            with whole_file(self.folder / path, data) as temporary:
                try:
                    (self.folder / path).hardlink_to(temporary)
                except FileExistsError:
                    return False
                except OSError as error:
                    if error.errno not in NOT_SUPPORTED:
                        raise
                    # A bucket's mount has no links: of two simultaneous writers, one wins.
                    if (self.folder / path).exists():
                        return False
                    temporary.replace(self.folder / path)
            return True
        with explained(self.uri(path)):
            try:
                obstore.put(self._store, path, data, mode="create")
            except AlreadyExistsError:
                return False
        return True

    def replace(self, path: str, before: bytes | None, data: bytes) -> bool:
        """Write `path` if it still holds `before`; returns False if another writer was first.

        None for `before` means that there was no such object. In a store without conditional
        writes, the later of two simultaneous writers wins.
        """
        if before is None:
            return self.create(path, data)
        if self.folder:
            with alone_in((self.folder / path).parent):
                if self.get(path) != before:
                    return False
                self.put(path, data)
            return True
        with explained(self.uri(path)):
            answer = obstore.get(self._store, path)
            version: UpdateVersion = {"e_tag": answer.meta["e_tag"]}
            if answer.meta["version"]:  # Google's store needs this; others have none
                version["version"] = answer.meta["version"]
            if bytes(answer.bytes()) != before:
                return False
            try:
                obstore.put(self._store, path, data, mode=version)
            except (PreconditionError, AlreadyExistsError):
                return False
            except NotSupportedError:
                obstore.put(self._store, path, data)
        return True

    def delete(self, path: str) -> None:
        """Remove `path`; does nothing if it does not exist."""
        if self.folder:
            (self.folder / path).unlink(missing_ok=True)
            remove_empty_folders((self.folder / path).parent, self.folder)
            return
        with explained(self.uri(path)), suppress(FileNotFoundError):
            obstore.delete(self._store, path)

    def exists(self, path: str) -> bool:
        if self.folder:
            return (self.folder / path).exists()
        with explained(self.uri(path)):
            try:
                obstore.head(self._store, path)
            except FileNotFoundError:
                return False
        return True

    def now(self) -> float:
        """Seconds since the epoch by the store's clock, as in `Entry.modified`."""
        path = f"{TEMPORARY}clock-{secrets.token_hex(8)}"
        self.put(path, b"")
        try:
            return self.stat(path).modified
        finally:
            self.delete(path)

    def unfinished(self) -> Iterator[Entry]:
        """Temporary files in a folder, most of them of active writers; a bucket has none."""
        for path in self.folder.rglob(f"{TEMPORARY}*") if self.folder else ():
            if status := status_of(path):
                yield local_entry(path.relative_to(self.folder or "").as_posix(), status)

    def answers(self) -> bool:
        """Whether the store answers at all, even if only that there is no such object."""
        try:
            self.exists(f"{TEMPORARY}answer")
        except UnansweredError:
            return False
        except StoreError:  # a refusal is an answer
            return True
        return True
