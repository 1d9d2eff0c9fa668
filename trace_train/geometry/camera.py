"""The camera of the cropped view: triples, depth levels, projection and the solver for camera targets.

The network sees square crops as if taken by a camera with a field of view of 50 degrees. Its camera triple (s, y, x)
of a root at (X, Y, Z) metres is s = F/Z, y = F Y/Z, x = F X/Z with F = 1/tan(25 degrees): x and y are the root's
position in the crop, normalised so that its edges are at -1 and 1 (docs/reference/network.md#camera-triple).
Encoding, decoding and projection use the same constant F.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from trace_data.schema.camera import NEAR_PLANE

FOCAL = 1.0 / math.tan(math.radians(25.0))
"""Focal length in half-widths of the crop."""
IN_FRONT = 0.2
"""Minimum depth, m, at which a solution counts as in front of the camera."""
NEAREST_SCALE = 8.0
LEVEL_DEPTHS = (1.0, 10.0, 20.0, 100.0)
LEVEL_COUNTS = (4, 50, 6, 4)
SMALLEST_SCALE = 0.01
"""Limits decoded depths to F / 0.01 = 214 m, so that an output near zero does not give an infinite depth."""
PUBLISHED_FOCAL = 548 / 256
"""The rounded constant of the published projection, for released weights (docs/reference/network.md#projection)."""


def depth_levels(count: int) -> Tensor:
    """`depth_scales` as a tensor (count,) on the CPU."""
    return torch.tensor(depth_scales(count))


def depth_scales(count: int) -> tuple[float, ...]:
    """Scales s of `count` depth levels, near to far, piecewise linear in s; the published count is 64.

    Source: docs/reference/network.md#depth-levels.
    """
    steps = [max(1, round(n * count / 64)) for n in LEVEL_COUNTS]
    steps[1] = count - steps[0] - steps[2] - steps[3]
    levels: list[float] = []
    near = NEAREST_SCALE
    for n, depth in zip(steps, LEVEL_DEPTHS):
        far = FOCAL / depth
        levels += [near - (i / n) * (near - far) for i in range(1, n + 1)]
        near = far
    return tuple(levels)


def level_of(scale: Tensor, levels: Tensor) -> Tensor:
    """Index of the depth level nearest to each scale (...,)."""
    return (scale[..., None] - levels).abs().argmin(-1)


def triple_from_translation(translation: Tensor) -> Tensor:
    """Root positions (..., 3) x, y, z metres to camera triples (..., 3) s, y, x."""
    x, y, z = translation.unbind(-1)
    return FOCAL * torch.stack([torch.ones_like(z), y, x], dim=-1) / z[..., None]


def translation_from_triple(triple: Tensor, *, published: bool = False) -> Tensor:
    """Camera triples (..., 3) s, y, x to root positions (..., 3) x, y, z metres.

    `published`: guard the division as the published code does, which allows negative scales.
    """
    scale = triple[..., 0] + 1e-6 if published else triple[..., 0].clamp_min(SMALLEST_SCALE)
    return torch.stack([triple[..., 2] / scale, triple[..., 1] / scale, FOCAL / scale], dim=-1)


def metres_through(lens: Tensor, triple: Tensor, *, published: bool = False) -> Tensor:
    """Triples (..., 3) of a crop to root positions (..., 3) x, y, z metres in the frame of the true camera.

    `lens` (..., 3): focal length and principal point y, x of the crop, in half widths. A triple fixes position and size
    in the crop, so the 50-degree camera scales depth and, with an off-centre principal point, shears positions.
    """
    x, y, z = translation_from_triple(triple, published=published).unbind(-1)
    focal, middle_y, middle_x = (lens / FOCAL).unbind(-1)
    return torch.stack([x - middle_x * z, y - middle_y * z, focal * z], dim=-1)


def project(points: Tensor, *, published: bool = False) -> Tensor:
    """Project camera-space points (..., 3) metres to normalised crop coordinates (..., 2) x, y; edges at -1 and 1."""
    if published:
        return PUBLISHED_FOCAL * points[..., :2] / (points[..., 2:] + 1e-4)
    return FOCAL * points[..., :2] / points[..., 2:].clamp_min(NEAR_PLANE)


def to_pixels(points: Tensor, intrinsics: Tensor) -> Tensor:
    """Project camera-space points (..., J, 3) metres to px of the frame (..., J, 2) with `intrinsics` (..., 3, 3)."""
    image = points @ intrinsics.mT
    return image[..., :2] / image[..., 2:].clamp_min(NEAR_PLANE)


def to_crop(px: Tensor, crop_from_frame: Tensor, size: int) -> Tensor:
    """Map px of the frame (..., J, 2) to x, y in a crop of `size` px, with edges at -1 and 1.

    `crop_from_frame` (..., 3, 3): px to px, pixel centres.
    """
    in_crop = px @ crop_from_frame[..., :2, :2].mT + crop_from_frame[..., None, :2, 2]
    return (2 * in_crop + 1) / size - 1


def solve_translation(points2d: Tensor, joints: Tensor, weights: Tensor, refinements: int = 4) -> tuple[Tensor, Tensor]:
    """Solve for a body's translation in the 50-degree camera from its joints and their projections in the crop.

    Weighted linear least squares of u (Z + z) = F (X + x), then Gauss-Newton steps on the reprojection error;
    deterministic (docs/reference/datasets.md#translation-by-linear-least-squares). points2d (..., J, 2) normalised,
    joints (..., J, 3) metres in camera axes, weights (..., J) zero where missing. Returns the translation (..., 3)
    metres, float32, and whether it can be trusted (...): at least five joints and a solution in front of the camera.
    """
    uv, body, w = points2d.double(), joints.double(), weights.double()
    seen = (w > 0).sum(-1) >= 5
    eye = torch.eye(3, dtype=torch.float64, device=uv.device)

    def normal_step(rows: Tensor, residual: Tensor) -> Tensor:
        # rows (..., J, 2, 3), residual (..., J, 2)
        weighted = rows * w[..., None, None]
        lhs = torch.einsum("...jkp,...jkq->...pq", weighted, rows)
        rhs = torch.einsum("...jkp,...jk->...p", weighted, residual)
        # not `solve`, which synchronises with the GPU to check for singular matrices; this one is never singular
        step: Tensor = torch.linalg.solve_ex(lhs + (1e-9 + (~seen)[..., None, None].double()) * eye, rhs)[0]
        return step

    constant = torch.full_like(uv[..., 0], FOCAL)
    none = torch.zeros_like(constant)
    rows = torch.stack(
        [torch.stack([constant, none, -uv[..., 0]], -1), torch.stack([none, constant, -uv[..., 1]], -1)], dim=-2
    )
    t = normal_step(rows, uv * body[..., 2:] - FOCAL * body[..., :2])
    for _ in range(refinements):
        p = body + t[..., None, :]
        depth = p[..., 2].clamp_min(NEAR_PLANE)
        rows = FOCAL * torch.stack(
            [
                torch.stack([1 / depth, none, -p[..., 0] / depth**2], -1),
                torch.stack([none, 1 / depth, -p[..., 1] / depth**2], -1),
            ],
            dim=-2,
        )
        t = t + normal_step(rows, uv - FOCAL * p[..., :2] / depth[..., None])
    good = seen & (t[..., 2] > IN_FRONT) & (t[..., 2] < 100.0) & t.isfinite().all(-1)
    return torch.where(good[..., None], t, torch.zeros_like(t)).float(), good
