"""Make one artist's drawing look like another's: place, bend, recolour and paper it anew.

Imported by train.py; everything works on a whole batch of premultiplied RGBA in [0, 1].
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample, interpolate

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)


def uniform(count: int, low: float, high: float) -> Tensor:
    return torch.rand(count) * (high - low) + low


def sometimes(count: int, chance: float) -> Tensor:
    return (torch.rand(count) < chance).float()


def placed(rgba: Tensor, side: int, flips: Tensor, waves: Tensor) -> Tensor:
    """Random size, aspect, turn, shear, shift, mirror image, and a wave as of cloth in the wind."""
    n = len(rgba)
    scale = torch.exp(uniform(n, math.log(0.7), math.log(1.08)))
    aspect = torch.exp(uniform(n, -0.12, 0.12))
    angle = uniform(n, -0.28, 0.28) * sometimes(n, 0.6)
    shear = uniform(n, -0.15, 0.15) * sometimes(n, 0.4)
    mirror = 1 - 2 * flips * sometimes(n, 0.5)
    cos, sin = torch.cos(angle), torch.sin(angle)
    room = (1.12 - scale).clamp(0.06)
    shift_x, shift_y = uniform(n, -1, 1) * room, uniform(n, -1, 1) * room
    row_x = torch.stack([mirror * cos / scale * aspect, (shear - sin) / scale, shift_x], 1)
    row_y = torch.stack([mirror * sin / scale, cos / scale / aspect, shift_y], 1)
    grid = affine_grid(torch.stack([row_x, row_y], 1), [n, 4, side, side], align_corners=False)

    swing = waves * uniform(n, 0.0, 0.16)
    phase, pace = uniform(n, 0, 2 * math.pi), uniform(n, 2.0, 5.0)
    bend = torch.sin(grid[..., 0] * pace[:, None, None] + phase[:, None, None])
    grid[..., 1] += swing[:, None, None] * bend
    drawn = grid_sample(rgba, grid, align_corners=False)
    shade = 1 + 1.5 * (swing * uniform(n, -1, 1))[:, None, None] * bend
    drawn[:, :3] *= shade[:, None]
    return drawn.clamp(0, 1)


def recoloured(rgba: Tensor, strength: Tensor) -> Tensor:
    """Brightness, contrast, saturation and a slight hue turn; colour names must stay true."""
    n = len(rgba)
    rgb, alpha = rgba[:, :3], rgba[:, 3:]
    gain = torch.exp(uniform(n, -0.3, 0.3))[:, None, None, None]
    tint = torch.exp(uniform(3 * n, -0.1, 0.1)).view(n, 3, 1, 1)
    grey = rgb.mean(1, keepdim=True)
    saturation = 1 + strength * uniform(n, -0.6, 0.5)
    rgb = grey + (rgb - grey) * saturation[:, None, None, None]
    lift = uniform(n, -0.12, 0.12)[:, None, None, None]
    rgb = (rgb * gain * tint + lift * alpha).clamp(0, 1) * (alpha > 0)
    return torch.cat([rgb, alpha], 1)


def papered(rgba: Tensor) -> Tensor:
    """Lay on white, or sometimes on a coloured sheet that fades from corner to corner."""
    n, _, side, _ = rgba.shape
    ramp = torch.linspace(0, 1, side)
    blend = (ramp[:, None] * 0.5 + ramp[None] * 0.5)[None, None]
    first, second = torch.rand(n, 3, 1, 1), torch.rand(n, 3, 1, 1)
    first, second = 1 - 0.6 * first**2, 1 - 0.6 * second**2
    sheet = first * (1 - blend) + second * blend
    plain = sometimes(n, 0.75)[:, None, None, None]
    sheet = plain + (1 - plain) * sheet
    return rgba[:, :3] + sheet * (1 - rgba[:, 3:])


def roughened(rgb: Tensor) -> Tensor:
    """Blur some, cover a patch of some."""
    n, _, side, _ = rgb.shape
    blur = sometimes(n, 0.1)[:, None, None, None]
    rgb = rgb * (1 - blur) + avg_pool2d(rgb, 3, 1, 1, count_include_pad=False) * blur
    centre = torch.rand(n, 2, 1, 1) * side
    half = (uniform(n, 0.06, 0.2) * side * sometimes(n, 0.15)).view(n, 1, 1)
    line = torch.arange(side).float()
    patch = ((line[None, :, None] - centre[:, 0]).abs() < half) & (
        (line[None, None, :] - centre[:, 1]).abs() < half
    )
    return torch.where(patch[:, None], torch.rand(n, 3, 1, 1), rgb).clamp(0, 1)


def augmented(pictures: Tensor, side: int, flips: Tensor, waves: Tensor, colours: Tensor) -> Tensor:
    """uint8 premultiplied RGBA in, normalised RGB out.

    `flips` is 1 where left and right do not matter, `waves` 1 where cloth may wave, `colours`
    how far saturation may move.
    """
    rgba = placed(pictures.float() / 255, side, flips, waves)
    return (roughened(papered(recoloured(rgba, colours))) - MEAN) / STD


def plain(pictures: Tensor, side: int) -> Tensor:
    """The picture as a viewer sees it: on white, resized, nothing random."""
    rgba = pictures.float() / 255
    rgb = rgba[:, :3] + (1 - rgba[:, 3:])
    if rgb.shape[-1] != side:
        rgb = interpolate(rgb, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
    return (rgb - MEAN) / STD
