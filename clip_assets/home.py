"""Home folders of users, which a container's user may not have."""

from pathlib import Path

from clip_assets.errors import SettingsError


def expanded(path: str | Path) -> Path:
    """The path with `~` expanded. Raises SettingsError if there is no such home folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise SettingsError(
            f"{path}: there is no such home folder. Write the whole path."
        ) from error
