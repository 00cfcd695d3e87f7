#!/usr/bin/env bash
# Installs this package with an extra into ~/clip_assets, on a machine that SkyPilot started:
#
#   bash clip_assets/node/install.sh [EXTRA]
#
# Many cloud images have an older python3 than this package needs. Every SkyPilot machine has uv,
# which then downloads its own Python.
set -euo pipefail
cd "$(dirname "$0")/../.."
# The wheel, if SkyPilot copied one; otherwise the checkout that this script is in.
wheel=$(compgen -G './clip_assets-*.whl' || true)
package=${wheel:-.}${1:+[$1]}
constraints=$([ ! -f constraints.txt ] || echo '-c constraints.txt')
python=$HOME/clip_assets/bin/python
PATH=$HOME/.local/bin:$PATH

if command -v uv >/dev/null; then
  # Without a GPU, torch comes without CUDA from PyTorch's own index. If empty: from the usual index.
  export UV_TORCH_BACKEND=${UV_TORCH_BACKEND-auto}
  [ -n "$UV_TORCH_BACKEND" ] || unset UV_TORCH_BACKEND
  uv venv --quiet --clear --python '>=3.11' "$HOME/clip_assets"
  uv pip install --quiet --python "$python" $constraints "$package"
else
  python3 -m venv "$HOME/clip_assets"
  "$python" -m pip install --quiet $constraints "$package"
fi
