"""Whether a shard rejects too many images, and the sentence that reports it."""

from clip_assets.store import commit as commits
from clip_assets.store.commit import Commit
from clip_assets.store.objects import Objects


def too_many(commit: Commit, allowed_share: float) -> bool:
    """Whether more than one image, and more than the share, is damaged or unreadable.

    In a small shard, a single image would exceed any small share. An erased file that came back is
    rejected on purpose and does not count.
    """
    bad = commit.damaged + commit.unreadable
    return bad > max(allowed_share * (commit.rows + commit.rejected), 1 if allowed_share else 0)


def rejects_message(objects: Objects, commit: Commit, allowed_share: float) -> str:
    """What was rejected and what to do about it, in one sentence; empty if nothing was."""
    if not commit.rejected:
        return ""
    rows = commits.read_part(objects, commit.rejects).slice(0, 3).to_pylist()
    images = commit.rows + commit.rejected
    unread = (
        f"; {commit.unreadable} of them could not be read and are read again at the next run"
        if commit.unreadable
        else ""
    )
    limit = (
        f", more than max_reject_share {allowed_share:g} allows. Fix the images, or raise "
        "max_reject_share if these are expected. The other images are committed"
        if too_many(commit, allowed_share)
        else ""
    )
    examples = "; ".join(f"{row['image_id']}: {row['reason']}" for row in rows)
    return f"{commit.rejected} of {images} images were rejected{unread}{limit} ({examples})."
