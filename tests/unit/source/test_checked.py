from collections.abc import Iterator, Sequence

import pytest

from clip_assets.errors import SourceError
from clip_assets.source import ImageRef
from clip_assets.source.checked import Checked


class _Listed:
    def __init__(self, *refs: ImageRef) -> None:
        self.refs = refs

    def list(self) -> Iterator[ImageRef]:
        return iter(self.refs)

    def read(self, refs: Sequence[ImageRef]) -> Iterator[bytes | OSError]:
        return iter([b""] * len(refs))


def test_two_images_with_one_id_are_both_named() -> None:
    """The error says where both images are: a file, a row of parquet or a byte in a tar."""
    row = ImageRef("7", "hf://x/0.parquet", "t", row=3)
    member = ImageRef("7", "s3://b/1.tar", "t", offset=512, size=9)
    other = ImageRef("8", "s3://b/1.tar", "t", offset=1536, size=9)
    with pytest.raises(SourceError) as caught:
        list(Checked(_Listed(row, other, member), "x").list())
    assert "'7': hf://x/0.parquet row 3 and s3://b/1.tar at byte 512" in str(caught.value)


@pytest.mark.parametrize("image_id", ["", "a\0b", "\udcff.jpg"])
def test_an_unusable_id_is_refused(image_id: str) -> None:
    """An id that parquet or Postgres cannot store is refused during the listing."""
    with pytest.raises(SourceError, match="no usable id"):
        list(Checked(_Listed(ImageRef(image_id, "/a", "t")), "x").list())
