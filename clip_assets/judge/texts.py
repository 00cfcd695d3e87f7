"""Encodes texts in a separate process.

torch takes seconds to import and stays in memory; a run that judges an index needs it only for
judged texts.
"""

import subprocess
import sys
from importlib.util import find_spec
from io import BytesIO

import numpy as np

from clip_assets.errors import ModelError
from clip_assets.judge.queries import Floats
from clip_assets.node.job import TextJob
from clip_assets.node.program import COULD_NOT_START


def encoded(asked: TextJob) -> Floats:
    """Unit vectors float32[texts, dim].

    Raises ModelError if the model cannot be loaded, or is not `asked.identity`.
    """
    if find_spec("open_clip") is None:
        raise ModelError("Texts need open_clip, which is not installed here.")
    done = subprocess.run(
        [sys.executable, "-m", "clip_assets.node.texts"],
        input=asked.model_dump_json().encode(),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().split("\n")[-1]
        explained = done.returncode == COULD_NOT_START
        raise ModelError(said.removeprefix("error: ") if explained else f"encoding failed: {said}")
    vectors: Floats = np.load(BytesIO(done.stdout), allow_pickle=False)
    return vectors
