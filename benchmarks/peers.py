"""Two other search services to measure beside ours: their environments, rows and commands.

Each has the rows and the text tower that ours has. Everything is made below one folder and kept, so
that a second run only starts them.
"""

import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from benchmarks import made_up
from clip_assets.model import ModelSpec
from clip_assets.node import encoder

INSTALL_SECONDS = 900


@dataclass(frozen=True)
class Service:
    """How to start a service, and how to ask it for the 24 nearest images of a text.

    `also` is the rest of the request's JSON.
    """

    name: str
    command: list[str]
    path: str = "/v1/search"
    key: str = "text"
    also: dict[str, object] = field(default_factory=dict)
    probe: str = "/livez"


@dataclass(frozen=True)
class _Peer:
    """A program of `benchmarks/`, and what it needs from PyPI; what it shares with ours, such as
    torch and open_clip, is found in our environment."""

    name: str
    program: str
    packages: tuple[str, ...]
    alone: tuple[str, ...]
    """Packages that are installed without what they require, most of which they do not use here."""

    path: str
    also: dict[str, object]
    probe: str


_PEERS = (
    _Peer(
        "SkyPilot's example (Chroma)", "peer_skypilot.py", ("chromadb==1.5.9",), (),
        "/search", {"n_results": 24}, "/health",
    ),
    _Peer(
        "clip-retrieval 2.45.0", "peer_clip_back.py",
        ("setuptools==69.5.1", "faiss-cpu", "fire", "flask", "flask-cors", "flask-restful", "h5py"),
        ("clip-retrieval==2.45.0", "all-clip==1.3.0"),
        "/knn-service",
        {"modality": "image", "num_images": 24, "num_result_ids": 24, "indice_name": "bench"},
        "/indices-list",
    ),
)  # fmt: skip


def ready(folder: Path, architecture: str, rows: int) -> list[Service]:
    """Those that can be installed, with `rows` rows each. Prints why another one cannot."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = _weights(folder, architecture)
    found = []
    for peer in _PEERS:
        home = folder / peer.program.removesuffix(".py")
        program = Path(__file__).with_name(peer.program)
        data = home / f"rows-{rows}"
        try:
            python = _environment(home / "venv", peer)
            # -P, or `benchmarks/clip_retrieval.py` would hide the package of that name.
            run = [str(python), "-P", str(program), "--folder", str(data)]
            if not (data / "complete").exists():
                vectors = _vectors(folder, rows, weights)
                subprocess.run([*run, "--vectors", str(vectors)], check=True)
                (data / "complete").touch()
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            said = (error.stderr or b"").decode().strip()[-300:]
            print(f"\n{peer.name}: not measured, because it could not be set up: {error} {said}")
            continue
        command = [*run, "--architecture", architecture, "--weights", str(weights), "--port"]
        found.append(Service(peer.name, command, peer.path, "text", peer.also, peer.probe))
    return found


def _weights(folder: Path, architecture: str) -> Path:
    """The random weights that our service has, as a checkpoint."""
    path = folder / f"{architecture}.pt"
    if not path.exists():
        spec = ModelSpec(name=architecture, untrained_seed=0)
        torch.save(encoder.load(spec, "cpu")._model.state_dict(), path)
    return path


def _vectors(folder: Path, rows: int, weights: Path) -> Path:
    path = folder / f"vectors-{rows}.npy"
    if not path.exists():
        dim = torch.load(weights, weights_only=True)["text_projection"].shape[1]
        np.save(path, made_up.image_vectors(rows, dim))
    return path


def _environment(folder: Path, peer: _Peer) -> Path:
    python = folder / "bin" / "python"
    installed = folder / "installed"
    if installed.exists():
        return python
    venv.create(folder, with_pip=True, clear=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    ours = folder / "lib" / version / "site-packages" / "ours.pth"
    ours.write_text(sysconfig.get_path("purelib"))
    pip = [str(python), "-m", "pip", "install", "--quiet", "--ignore-installed"]
    for packages, how in ((peer.packages, ()), (peer.alone, ("--no-deps", "--no-build-isolation"))):
        if packages:
            # pip complains of what ours requires, which this environment only borrows.
            command = [*pip, *how, *packages]
            subprocess.run(command, check=True, timeout=INSTALL_SECONDS, capture_output=True)
    installed.touch()
    return python
