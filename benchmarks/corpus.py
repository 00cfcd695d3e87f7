"""What happens to each file in a folder of odd images, such as the tests of an image library.

    pip download --no-deps --no-binary pillow pillow && tar xzf pillow-*.tar.gz
    .venv/bin/python -m benchmarks.corpus pillow-*/Tests/images

Exits with status 1 if a file is neither embedded nor rejected nor counted as skipped.
"""

import argparse
import os
import sys
import warnings
from collections import Counter
from pathlib import Path

from clip_assets.node.decode import Rejected, decode
from clip_assets.source import DamagedError
from clip_assets.source.config import FolderConfig
from clip_assets.source.open import open_source


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    warnings.simplefilter("ignore")
    source = open_source(FolderConfig(uri=str(folder)))
    refs = list(source.list())
    outcomes: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    sound = [ref for ref in refs if not ref.fault]
    for ref, data in zip(sound, source.read(sound), strict=True):
        try:
            decode(data if isinstance(data, bytes) else _raised(data))
            outcomes["embedded"] += 1
        except (Rejected, DamagedError) as error:
            outcomes["rejected"] += 1
            reasons[str(error)] += 1
        except OSError as error:
            outcomes["read again"] += 1
            print(f"{ref.image_id}: {error}")
    outcomes["rejected"] += len(refs) - len(sound)
    files = sum(len(names) for _, _, names in os.walk(folder))
    skipped = sum(source.skipped.values())
    for kind, count in [*source.skipped.most_common(), *reasons.most_common()]:
        print(f"{count:6} {kind}")
    counts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
    print(f"{files} files = {skipped} skipped + {len(refs)} listed ({counts})")
    sys.exit(files != skipped + len(refs) or len(refs) != outcomes.total())


def _raised(error: OSError) -> bytes:
    raise error


if __name__ == "__main__":
    main()
