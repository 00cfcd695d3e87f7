"""The files of a dataset on the Hugging Face hub."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
from huggingface_hub import (
    HfApi,
    get_hf_file_metadata,
    get_session,
    get_token,
    hf_hub_url,
    hf_raise_for_status,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from clip_assets.errors import SourceError
from clip_assets.settings import Settings
from clip_assets.source.hub_retry import refusal, with_retries
from clip_assets.source.ranged import Ranged
from clip_assets.store.entry import Entry

TIMEOUT = 10.0  # seconds; by default the hub's client waits forever
_REMEDY = "set HF_TOKEN, in the environment or in ~/.env, to a token with read access"


class HubFiles:
    """A dataset on the hub.

    `open` reads byte ranges; `fetch` downloads the file once into the hub's cache.
    """

    def __init__(self, dataset: str, revision: str) -> None:
        token = Settings().hf_token
        self._dataset, self._revision = dataset, revision
        self._token = token.get_secret_value() if token else get_token()
        self._api = HfApi(token=self._token)

    def list(self, skipped: Counter[str]) -> Iterator[Entry]:
        with _explained(self._dataset, self._revision):
            info = with_retries(
                partial(
                    self._api.dataset_info,
                    self._dataset,
                    revision=self._revision,
                    files_metadata=True,
                    timeout=TIMEOUT,
                )
            )
        for file in info.siblings or []:
            tag = file.lfs.sha256 if file.lfs else file.blob_id
            yield Entry(file.rfilename, file.size or 0, tag or "")

    def uri(self, path: str) -> str:
        return f"hf://datasets/{self._dataset}@{self._revision}/{path}"

    def open(self, entry: Entry) -> Ranged:
        return Ranged(partial(self.range, entry.path), entry.size)

    def fetch(self, path: str) -> tuple[Path, str]:
        with _explained(self._dataset, self._revision):
            name = with_retries(partial(self._downloaded, path))
        # The cache stores each content once, named by its hash; `name` is a symlink to it.
        link = Path(name)
        return link, link.resolve().name if link.is_symlink() else ""

    def for_one(self, path: str) -> tuple[Path | Ranged, str]:
        kept = try_to_load_from_cache(
            self._dataset, path, revision=self._revision, repo_type="dataset"
        )
        if isinstance(kept, str):
            return self.fetch(path)
        url = self._url(path)
        with _explained(self._dataset, self._revision):
            metadata = with_retries(
                partial(get_hf_file_metadata, url, token=self._token, timeout=TIMEOUT)
            )
        file = Ranged(partial(self.range, path), metadata.size or 0)
        return file, (metadata.etag or "").strip('"')

    def _url(self, path: str) -> str:
        return hf_hub_url(
            self._dataset,
            path,
            repo_type="dataset",
            revision=self._revision,
            endpoint=self._api.endpoint,
        )

    def _downloaded(self, path: str) -> str:
        try:
            return self._api.hf_hub_download(
                self._dataset,
                path,
                repo_type="dataset",
                revision=self._revision,
                etag_timeout=TIMEOUT,
            )
        except httpx.ReadTimeout as error:  # the hub answered before it began to send
            raise _StalledError("the hub stopped sending the file") from error

    def range(self, path: str, offset: int, size: int) -> bytes:
        """`size` bytes of the file from `offset`."""
        url = self._url(path)
        headers = {"range": f"bytes={offset}-{offset + size - 1}"}
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        with _explained(self._dataset, self._revision):
            answer = with_retries(partial(_got, url, headers))
        whole = answer.status_code == 200  # a server may ignore the range and send everything
        return answer.content[offset : offset + size] if whole else answer.content


class _StalledError(TimeoutError):
    """One file is not sent. Others may be."""


def _got(url: str, headers: dict[str, str]) -> httpx.Response:
    try:
        answer = get_session().get(url, headers=headers, timeout=TIMEOUT)
    except httpx.ReadTimeout as error:
        raise _StalledError(f"the hub sent nothing for {TIMEOUT:.0f} s") from error
    hf_raise_for_status(answer)
    return answer


@contextmanager
def _explained(dataset: str, revision: str) -> Iterator[None]:
    """Turns the hub's errors into one sentence with a remedy.

    Those of one file, which is missing or not sent, stay OSErrors.
    """
    try:
        yield
    except RemoteEntryNotFoundError as error:
        raise FileNotFoundError("no such file") from error
    except _StalledError:
        raise
    except (httpx.HTTPError, OSError, HFValidationError) as error:
        raise SourceError(_sentence(error, dataset, revision)) from error


def _sentence(error: Exception, dataset: str, revision: str) -> str:
    refused = refusal(error)
    status = refused.response.status_code if refused else None
    known = {
        GatedRepoError: f"{dataset} is gated: accept the terms on its page, then {_REMEDY}.",
        RepositoryNotFoundError: f"{dataset} is not on the hub, or is private: check the name, or "
        f"{_REMEDY}.",
        RevisionNotFoundError: f"{dataset} has no revision {revision!r}: set `revision` to one it "
        "has.",
        HFValidationError: f"{dataset!r} is neither a local folder nor a hub id of the form "
        "org/name.",
    }
    if sentence := next((say for kind, say in known.items() if isinstance(error, kind)), None):
        return sentence
    if status in (401, 403):
        return f"The hub denies access to {dataset}: {_REMEDY}."
    if status == 429:
        return (
            f"The hub allows no more requests for {dataset} at present: run again later, or "
            f"{_REMEDY}, which raises the limit."
        )
    return (
        f"Cannot reach the Hugging Face hub for {dataset} ({str(error)[:200]}). Check the "
        "network, or set `dataset` to a folder with a local copy."
    )
