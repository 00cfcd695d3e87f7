"""The former name of `clip-assets index`, which task files of version 0.1 still use.

python -m clip_assets.index --collection photos --data …
"""

import sys

from clip_assets.cli.app import app

if __name__ == "__main__":
    arguments = sys.argv[1:]
    if "--collection" in arguments:
        position = arguments.index("--collection")
        del arguments[position]
    app(["index", *arguments], prog_name="clip-assets")
