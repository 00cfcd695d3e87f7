"""How much memory the embedded server uses."""

from pathlib import Path

from clip_assets.postgres.machine import here

MEMORY_FILE = "clip_assets.conf"
"""The file in the server's folder with settings that depend on this machine."""


def use_memory(folder: Path) -> None:
    """Set shared_buffers to a quarter of the free memory, as Postgres' documentation recommends.

    A search of an HNSW larger than `shared_buffers` copies most of its pages from the kernel.
    """
    buffers = max(here().memory // 4, 128 << 20)
    (folder / MEMORY_FILE).write_text(f"shared_buffers = {buffers >> 20}MB\n")
    main, include = folder / "postgresql.conf", f"include_if_exists '{MEMORY_FILE}'\n"
    if include not in main.read_text():
        with main.open("a") as file:
            file.write(
                f"{include}# Your own settings below, or by ALTER SYSTEM, take precedence.\n"
            )
