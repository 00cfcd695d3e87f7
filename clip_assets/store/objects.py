"""Bytes under a URI: a folder, or a prefix in S3, GCS or Azure, through obstore.

A write is either complete or absent. On a local disk obstore renames but does not fsync, so we
write local files ourselves: temporary name, fsync, then link (create-only) or rename.
"""

import errno
import fcntl
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    InvalidPathError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
)
from obstore.store import LocalStore, ObjectStore, from_url

from clip_assets.errors import ObjectRefusedError, StoreError, UnansweredError
from clip_assets.home import expanded
from clip_assets.store import aws, azure, credentials, odd_keys

if TYPE_CHECKING:
    from obstore import ObjectMeta, UpdateVersion
    from obstore.store import ClientConfig

TEMPORARY = ".tmp-"
TIMEOUT = 120  # seconds of one request, with its answer
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
_DENIED = "AccessDenied"
# The store's answer about one object, which says nothing about the others.
_REFUSALS = {
    "InvalidObjectState": "archived; restore it from the archive first",
    "BlobArchived": "archived; rehydrate it first",
    _DENIED: "access denied; change the bucket's policy, or use other credentials",
}
# Errors of file systems that lack hard links or cannot sync a folder.
_NOT_SUPPORTED = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP}
_CLOUDS = {"s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss"}


@dataclass(frozen=True)
class Entry:
    """One listed object: path below the root, size in bytes, version tag of the store.

    `fault` says why the object cannot be read, if the listing already shows it. `modified` is when
    it was written, in seconds since the epoch by the store's clock; 0 if unknown.
    """

    path: str
    size: int
    etag: str
    fault: str | None = None
    modified: float = field(default=0.0, compare=False)


def is_remote(uri: str) -> bool:
    return "://" in uri and not uri.startswith("file://")


def local_path(uri: str) -> Path:
    """The folder that a `file://` URI or a plain path names."""
    return expanded(unquote(urlsplit(uri).path) if uri.startswith("file://") else uri)


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
            scheme = root.split("://", maxsplit=1)[0]
            if scheme not in _CLOUDS:
                raise StoreError(
                    f"{root}: unknown scheme {scheme}://; use a folder, s3://, gs:// or az://."
                )
            self.folder: Path | None = None
            with _explained(self.root):
                self._store = from_url(
                    _quoted(self.root),
                    client_options=client_options(),
                    # With the time of the last request, still within the deadline of one image.
                    retry_config={"max_retries": 4, "retry_timeout": timedelta(seconds=TIMEOUT)},
                    **_credentials(self.root),
                )
        else:
            self.folder = local_path(root).resolve()
            self._store = LocalStore(self.folder) if self.folder.is_dir() else LocalStore()

    def uri(self, path: str) -> str:
        """Absolute URI of `path`: a plain path on a local disk, else with scheme and bucket."""
        return str(self.folder / path) if self.folder else f"{self.root}/{path}"

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Entries below `prefix` in no particular order, without temporary files."""
        if self.folder:
            yield from self._list_folder(prefix)
            return
        last = ""
        with _explained(self.uri(prefix)):
            try:
                for batch in obstore.list(self._store, prefix or None):
                    for meta in batch:
                        last = meta["path"]
                        yield _entry(last, meta)
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
        with _explained(self.uri(path)):
            answer = obstore.get(self._store, path)
        refuse_larger(answer.meta["size"], limit)
        with _explained(self.uri(path)):
            return bytes(answer.bytes())

    def stat(self, path: str) -> Entry:
        """Size and version tag of one object, as `list` returns them."""
        if self.folder:
            status = (self.folder / path).stat()
            if not stat.S_ISREG(status.st_mode):
                raise OSError("not a regular file")
            return local_entry(path, status)
        with _explained(self.uri(path)):
            try:
                meta = obstore.head(self._store, path)
            except PermissionDeniedError as error:  # the answer to HEAD has no text
                raise ObjectRefusedError(f"{self.uri(path)}: {_REFUSALS[_DENIED]}") from error
        return _entry(path, meta)

    def get_range(self, path: str, offset: int, size: int) -> bytes:
        """`size` bytes starting at `offset`."""
        if self.folder:
            with _regular(self.folder / path) as file:
                file.seek(offset)
                return file.read(size)
        with _explained(self.uri(path)):
            return bytes(obstore.get_range(self._store, path, start=offset, length=size))

    def open(self, path: str) -> IO[bytes]:
        """A local file, for random access. Raises OSError at once if it is a pipe or a device."""
        assert self.folder, "only for a local folder"
        return _regular(self.folder / path)

    @contextmanager
    def on_disk(self, path: str) -> Iterator[Path]:
        """The object as a local file; if it is remote, a temporary copy."""
        if self.folder:
            yield self.folder / path
            return
        with tempfile.NamedTemporaryFile(prefix=TEMPORARY) as copy:
            with _explained(self.uri(path)):
                for chunk in obstore.get(self._store, path).stream():
                    copy.write(chunk)
            copy.flush()
            yield Path(copy.name)

    def put(self, path: str, data: bytes) -> None:
        """Write or replace `path` atomically."""
        if self.folder:
            with _whole_file(self.folder / path, data) as temporary:
                temporary.replace(self.folder / path)
            return
        with _explained(self.uri(path)):
            obstore.put(self._store, path, data)

    def create(self, path: str, data: bytes) -> bool:
        """Write `path` unless it exists; returns False if another writer was first."""
        if self.folder:
            with _whole_file(self.folder / path, data) as temporary:
                try:
                    (self.folder / path).hardlink_to(temporary)
                except FileExistsError:
                    return False
                except OSError as error:
                    if error.errno not in _NOT_SUPPORTED:
                        raise
                    # A bucket's mount has no links: of two simultaneous writers, one wins.
                    if (self.folder / path).exists():
                        return False
                    temporary.replace(self.folder / path)
            return True
        with _explained(self.uri(path)):
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
            with _alone_in((self.folder / path).parent):
                if self.get(path) != before:
                    return False
                self.put(path, data)
            return True
        with _explained(self.uri(path)):
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
            _remove_empty_folders((self.folder / path).parent, self.folder)
            return
        with _explained(self.uri(path)), suppress(FileNotFoundError):
            obstore.delete(self._store, path)

    def exists(self, path: str) -> bool:
        if self.folder:
            return (self.folder / path).exists()
        with _explained(self.uri(path)):
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
            if status := _status(path):
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

    def _list_folder(self, prefix: str) -> Iterator[Entry]:
        assert self.folder
        for parent, folders, names in os.walk(self.folder / prefix, onerror=_raise_unless_gone):
            folders[:] = [name for name in folders if not name.startswith(".")]
            base = Path(parent)
            below = "" if base == self.folder else f"{base.relative_to(self.folder).as_posix()}/"
            for name in names:
                if name.startswith((TEMPORARY, ".")):
                    continue
                status = _status(base / name)
                if status:
                    yield local_entry(below + name, status)


def read_file(path: Path, limit: int | None = None) -> bytes:
    """The whole file. Raises OSError before reading if it is larger than `limit` bytes, or if it is
    a pipe or a device, which may have no end."""
    with _regular(path) as file:
        refuse_larger(os.fstat(file.fileno()).st_size, limit)
        return file.read()


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


def _regular(path: Path) -> IO[bytes]:
    """Open the file. Refuses a named pipe or a device, which could block forever."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    file = os.fdopen(handle, "rb")
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        file.close()
        raise OSError("not a regular file")
    return file


def refuse_larger(size: int, limit: int | None) -> None:
    """Raises OSError (EFBIG) if `size` is over `limit`, both in bytes."""
    if limit is not None and size > limit:
        told = f"file too large ({size >> 20} MiB, at most {limit >> 20})"
        raise OSError(errno.EFBIG, told)


def local_entry(path: str, status: os.stat_result) -> Entry:
    """A local file as `list` returns it; its version tag is its size and modification time."""
    etag = f"{status.st_size:x}-{status.st_mtime_ns:x}"
    return Entry(path, status.st_size, etag, modified=status.st_mtime)


def _entry(path: str, meta: "ObjectMeta") -> Entry:
    etag = (meta["e_tag"] or "").strip('"')
    return Entry(path, meta["size"], etag, modified=meta["last_modified"].timestamp())


def _status(path: Path) -> os.stat_result | None:
    """None if the file no longer exists. A dangling link is listed, so that reading it fails."""
    for look in (path.stat, path.lstat):
        try:
            return look()
        except FileNotFoundError:
            continue
    return None


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


@contextmanager
def _whole_file(target: Path, data: bytes) -> Iterator[Path]:
    """An fsynced temporary file beside `target`, removed at the end if it still exists."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=TEMPORARY, dir=target.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o644)
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)
        _fsync_folder(target.parent)
    except OSError as error:
        raise StoreError(
            f"Cannot write {target}: {error.strerror}. Free some space, or set CLIP_ASSETS_DATA "
            "to a disk or bucket with more; finished parts are kept."
        ) from error


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Admit one writer at a time, if the file system has locks; a killed writer's lock is freed."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NOT_SUPPORTED | {errno.EBADF, errno.ENOLCK}:
                raise
        yield
    finally:
        os.close(handle)


def _remove_empty_folders(folder: Path, root: Path) -> None:
    """Keep local folders like a bucket, where a prefix without objects does not exist."""
    while folder != root:
        try:
            folder.rmdir()
        except OSError:  # it is not empty, or another process removed it
            return
        folder = folder.parent


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:  # a bucket's mount has no folders to sync
        if error.errno not in _NOT_SUPPORTED:
            raise
    finally:
        os.close(handle)


@contextmanager
def _explained(uri: str) -> Iterator[None]:
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
