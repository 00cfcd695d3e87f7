from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

from clip_assets.errors import SourceError
from clip_assets.source import ImageRef
from clip_assets.source.checked import LONGEST, Checked


class _Listed:
    def __init__(self, *refs: ImageRef) -> None:
        self.refs = refs
        self.skipped: Counter[str] = Counter({"text files": 2})

    def list(self) -> Iterator[ImageRef]:
        return iter(self.refs)

    def read(self, refs: Sequence[ImageRef]) -> Iterator[bytes | OSError]:
        return iter([b""] * len(refs))


GOOD = ImageRef("good.jpg", "/good.jpg", "t")


@pytest.mark.parametrize(
    ("image_id", "stored"),
    [("a\0b.jpg", "a\\x00b.jpg"), ("caf\udce9.jpg", "caf\\xe9.jpg"), ("\ud800", "\\ud800")],
)
def test_an_id_that_cannot_be_stored_is_escaped(image_id: str, stored: str) -> None:
    """The image is listed under a name that parquet and Postgres accept, and can be read."""
    _, ref = Checked(_Listed(GOOD, ImageRef(image_id, "/a.tar", "t", offset=512)), "x").list()
    assert (ref.image_id, ref.fault) == (stored, None)


def test_an_address_that_is_not_utf8_is_a_fault() -> None:
    """A file whose address cannot be stored costs that one file."""
    _, ref = Checked(_Listed(GOOD, ImageRef("\udcff.jpg", "/\udcff.jpg", "t")), "x").list()
    assert (ref.image_id, ref.uri) == ("\\xff.jpg", "/\\xff.jpg")
    assert ref.fault == "its name is not UTF-8; rename it"


def test_a_name_that_is_too_long_for_an_index_is_a_fault() -> None:
    """It costs itself; Postgres would refuse to load the whole shard."""
    longest = "é" * (LONGEST // 2)
    listed = _Listed(GOOD, ImageRef(longest, "/x.tar", "t"), ImageRef(f"{longest}a", "/x.tar", "t"))
    _, fits, longer = Checked(listed, "x").list()
    assert fits.fault is None
    assert longer.fault == "its name is longer than 2,600 bytes; shorten it"
    (*_, deep) = Checked(_Listed(GOOD, ImageRef("a", "/" * (LONGEST + 1), "t")), "x").list()
    assert deep.fault == "its address is longer than 2,600 bytes; shorten it"


def test_a_missing_id_is_a_fault_that_names_the_place() -> None:
    """A row without an id has its place as its name, and a reason."""
    _, ref = Checked(_Listed(GOOD, ImageRef("", "hf://x/0.parquet", "t", row=3)), "x").list()
    assert ref.image_id == "hf://x/0.parquet row 3"
    assert ref.fault == "it has no id; give it one in the id column"


def test_a_listing_in_which_nothing_is_usable_is_refused() -> None:
    """The error has the first reason, or what was skipped if there were no images at all."""
    with pytest.raises(SourceError, match=r"No image in x can be used\. /a: it is odd"):
        list(Checked(_Listed(ImageRef("a", "/a", "t", fault="it is odd")), "x").list())
    with pytest.raises(SourceError, match=r"No images in x, only 2 text files\. Check the address"):
        list(Checked(_Listed(), "x").list())
