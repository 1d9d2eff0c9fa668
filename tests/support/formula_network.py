"""The published network once more, written from its formulas alone: plain functions over a state dict, nothing shared
with `trace_train`. Slow, raw centre maps, additive rotation: what released weights compute.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

State = Mapping[str, Tensor]


def conv(s: State, name: str, x: Tensor, stride: int = 1) -> Tensor:
    """Of one, two or three dimensions, whatever its kernel has."""
    weight = s[f"{name}.weight"]
    function = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}[weight.dim()]
    return function(x, weight, s.get(f"{name}.bias"), stride=stride, padding=weight.shape[-1] // 2)


def norm(s: State, name: str, x: Tensor) -> Tensor:
    """Batch normalisation with running statistics, eps 1e-5."""
    shape = (1, -1, *[1] * (x.dim() - 2))
    mean, var = s[f"{name}.running_mean"].view(shape), s[f"{name}.running_var"].view(shape)
    return (x - mean) / torch.sqrt(var + 1e-5) * s[f"{name}.weight"].view(shape) + s[f"{name}.bias"].view(shape)


def two(s: State, name: str, x: Tensor) -> Tensor:
    """conv1 bn1 ReLU conv2 bn2."""
    x = torch.relu(norm(s, f"{name}.bn1", conv(s, f"{name}.conv1", x)))
    return norm(s, f"{name}.bn2", conv(s, f"{name}.conv2", x))


def basic(s: State, name: str, x: Tensor) -> Tensor:
    """Residual block; with `downsample` in the state its shortcut is that 1x1 convolution."""
    shortcut = conv(s, f"{name}.downsample", x) if f"{name}.downsample.weight" in s else x
    return torch.relu(two(s, name, x) + shortcut)


def row(s: State, name: str, x: Tensor) -> Tensor:
    """1D block: no residual."""
    return torch.relu(two(s, name, x))


def count(s: State, prefix: str) -> int:
    """How many numbered children there are below a name."""
    depth = prefix.count(".") + 1
    return len(
        {name.split(".")[depth] for name in s if name.startswith(prefix + ".") and name.split(".")[depth].isdigit()}
    )


def hrnet(s: State, images: Tensor) -> Tensor:
    """Images (N, S, S, 3) in 0..255 to F."""

    def step(name: str, x: Tensor, stride: int, conv_at: str = "0", norm_at: str = "1") -> Tensor:
        return norm(s, f"{name}.{norm_at}", conv(s, f"{name}.{conv_at}", x, stride))

    x = images.permute(0, 3, 1, 2).float() / 255 * 2 - 1
    x = torch.relu(norm(s, "backbone.bn1", conv(s, "backbone.conv1", x, 2)))
    x = torch.relu(norm(s, "backbone.bn2", conv(s, "backbone.conv2", x, 2)))
    for block in range(count(s, "backbone.layer1")):
        name, y = f"backbone.layer1.{block}", x
        for k in (1, 2, 3):
            y = norm(s, f"{name}.bn{k}", conv(s, f"{name}.conv{k}", y))
            y = torch.relu(y) if k < 3 else y
        x = torch.relu(y + (step(f"{name}.downsample", x, 1) if block == 0 else x))
    maps = [
        torch.relu(step("backbone.transition1.0", x, 1)),
        torch.relu(step("backbone.transition1.1.0", x, 2)),
    ]
    for stage in (2, 3, 4):
        for module in range(count(s, f"backbone.stage{stage}")):
            name = f"backbone.stage{stage}.{module}"
            for b in range(len(maps)):
                for block in range(count(s, f"{name}.branches.{b}")):
                    maps[b] = basic(s, f"{name}.branches.{b}.{block}", maps[b])
            rows = 1 if stage == 4 and module == count(s, "backbone.stage4") - 1 else len(maps)
            fused = []
            for i in range(rows):
                total = torch.zeros_like(maps[i])
                for j, source in enumerate(maps):
                    fuse = f"{name}.fuse_layers.{i}.{j}"
                    if j == i:
                        total = total + source
                    elif j > i:
                        up = step(fuse, source, 1)
                        total = total + up.repeat_interleave(2 ** (j - i), -1).repeat_interleave(2 ** (j - i), -2)
                    else:
                        for k in range(i - j):
                            source = step(f"{fuse}.{k}", source, 2)
                            source = torch.relu(source) if k < i - j - 1 else source
                        total = total + source
                fused.append(torch.relu(total))
            maps = fused
        if stage < 4:
            maps.append(torch.relu(step(f"backbone.transition{stage}.{stage}.0", maps[-1], 2)))
    return maps[0]


def gru(s: State, frames: Tensor) -> Tensor:
    """Frames (B, T, C, M, M) to G: the first one is seen twice, the first answer dropped."""
    sequence = [frames[:, 0], *frames.unbind(1)]
    for layer in range(count(s, "temp_model.cell_list")):
        name, h, out = f"temp_model.cell_list.{layer}", torch.zeros_like(frames[:, 0]), []
        for x in sequence:
            z = torch.sigmoid(conv(s, f"{name}.convz", torch.cat([h, x], 1)))
            r = torch.sigmoid(conv(s, f"{name}.convr", torch.cat([h, x], 1)))
            h = (1 - z) * h + z * torch.tanh(conv(s, f"{name}.convq", torch.cat([r * h, x], 1)))
            out.append(h)
        sequence = out
    return torch.stack(sequence[1:], 1)


def deformed(x: Tensor, offsets: Tensor, weight: Tensor) -> Tensor:
    """Deformable convolution, tap by tap, corner by corner, by index."""
    n, c, height, width = x.shape
    groups = offsets.shape[1] // 18
    padded = F.pad(x, (1, 1, 1, 1))
    ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    out = torch.zeros(n, len(weight), height, width)
    for g in range(groups):
        channels = slice(g * c // groups, (g + 1) * c // groups)
        for tap in range(9):
            at = (g * 9 + tap) * 2
            y, x_at = ys + tap // 3 - 1 + offsets[:, at], xs + tap % 3 - 1 + offsets[:, at + 1]
            seen = torch.zeros(n, c // groups, height, width)
            for top in (0, 1):
                for left in (0, 1):
                    v, u = y.floor() + top, x_at.floor() + left
                    share = (1 - (y - v).abs()) * (1 - (x_at - u).abs())
                    v, u = v.clamp(-1, height).long() + 1, u.clamp(-1, width).long() + 1
                    corner = torch.stack([padded[i, channels][:, v[i], u[i]] for i in range(n)])
                    seen = seen + share[:, None] * corner
            out = out + torch.einsum("oc,nchw->nohw", weight[:, channels, tap // 3, tap % 3], seen)
    return out


def head(s: State, name: str, x: Tensor, blocks: int | None = None) -> Tensor:
    """Head blocks `name.k.0`, then the 1x1 convolution that follows them, if any; or only so many blocks."""
    total = count(s, name)
    final = f"{name}.{total - 1}.weight" in s
    for k in range(total - final if blocks is None else blocks):
        x = basic(s, f"{name}.{k}.0", x)
    return conv(s, f"{name}.{total - 1}", x) if final and blocks is None else x


def folded(s: State, name: str, x: Tensor) -> Tensor:
    """The three convolutions before the bird's-eye view."""
    for k in (0, 3, 6):
        x = torch.relu(norm(s, f"{name}.{k + 1}", conv(s, f"{name}.{k}", x)))
    return x


def above(s: State, name: str, x: Tensor) -> Tensor:
    """The bird's-eye view of (N, C, M, M)."""
    x = x.reshape(len(x), -1, x.shape[-1])
    for k in range(3):
        x = row(s, f"{name}.{k}", x)
    return x


def refined(s: State, name: str, x: Tensor) -> Tensor:
    """3D block: plus its input, no final ReLU."""
    return two(s, f"{name}.0", x) + x


def stages(s: State, images: Tensor, flow: Tensor, levels: int) -> dict[str, Tensor]:
    """Every map, of clips (B, T, S, S, 3) and flow (B T, 2, M, M)."""
    b, t = images.shape[:2]
    seen = hrnet(s, images.flatten(0, 1))
    frames = seen.unflatten(0, (b, t))
    change = torch.cat([torch.zeros_like(frames[:, :1]), frames[:, 1:] - frames[:, :-1]], 1).flatten(0, 1)
    for k in range(count(s, "offset_feature_convert")):
        change = basic(s, f"offset_feature_convert.{k}", change)
    offsets = conv(s, "feature_offset_predictor", change)
    remembered, moved = gru(s, frames).flatten(0, 1), deformed(seen, offsets, s["deform_warper.weight"])
    x = remembered + moved + seen
    both = torch.cat([flow, x], 1)
    front = head(s, "det_head", x)
    bird = above(s, "bv_out_layers", torch.cat([front, folded(s, "bv_pre_layers", x)], 1))
    size = x.shape[-1]
    grid = torch.arange(size) / size * 2 - 1
    volume = front[:, :1] * bird[:, :levels, None]
    camera = torch.zeros(len(x), 3, levels, size, size)
    camera[:, 0] = front[:, 1, None] + bird[:, levels : 2 * levels, None]
    camera[:, 1] = (grid[:, None] + front[:, 2])[:, None]
    camera[:, 2] = (grid + front[:, 3])[:, None]
    motion = head(s, "motion_head", both)
    bird_motion = above(s, "bv_motion_out_layers", torch.cat([motion, folded(s, "bv_motion_pre_layers", both)], 1))
    trunk = head(s, "cam_motion_head", both, blocks=count(s, "cam_motion_head") - 2)
    turned = trunk
    for k in range(count(s, "cam_rot_head") - 1):
        turned = basic(s, f"cam_rot_head.{k}", turned)
    return {
        "image_feature_maps": seen,
        "gru_features": remembered,
        "feature_offsets": offsets,
        "warped_features": moved,
        "temporal_features": x,
        "front_map": front,
        "bv_map": bird,
        "center_map": front[:, :1],
        "center_map_3d": refined(s, "center_map_refiner2", volume[:, None])[:, 0],
        "cam_map_3d": refined(s, "cam_map_refiner", camera),
        "motion_map": motion,
        "bv_motion_map": bird_motion,
        "motion_map_3d": refined(s, "motion_map_refiner", motion[:, :, None] + bird_motion[:, None, :, None]),
        "mesh_feature_map": head(s, "param_head", both),
        "cam_motion_map": head(s, "cam_motion_head", both),
        "cam_rot_map": conv(s, f"cam_rot_head.{count(s, 'cam_rot_head') - 1}", turned),
    }


def encoded(s: State, name: str, x: Tensor) -> Tensor:
    """A regressor."""
    for k in (0, 2):
        x = torch.relu(x @ s[f"{name}.regressor.{k}.weight"].T + s[f"{name}.regressor.{k}.bias"])
    outputs = range(count(s, f"{name}.out_layers"))
    return torch.cat([x @ s[f"{name}.out_layers.{i}.weight"].T + s[f"{name}.out_layers.{i}.bias"] for i in outputs], -1)


def people(
    s: State, maps: Mapping[str, Tensor], frame: list[int], zyx: list[list[int]], gain: float
) -> dict[str, Tensor]:
    """One person at these voxels of these frames, seen in all of them."""
    points = [(n, *place) for n, place in zip(frame, zyx)]
    mesh = torch.stack([maps["mesh_feature_map"][n, :, y, x] for n, z, y, x in points])
    coarse = torch.stack([maps["cam_map_3d"][n, :, z, y, x] for n, z, y, x in points])
    moved = torch.stack([maps["cam_motion_map"][n, :, y, x] for n, z, y, x in points])
    turned = torch.stack([maps["cam_rot_map"][n, :, y, x] for n, z, y, x in points])
    camera = encoded(s, "temp_trans_regressor", torch.cat([coarse, mesh], -1))
    root = encoded(s, "temp_globalrot_regressor", mesh)[:, 6:]
    pose, shape = encoded(s, "temp_smplpose_regressor", mesh), encoded(s, "temp_smplshape_regressor", mesh)
    world, now = [], camera[0]
    for step in moved:
        now = now + step * torch.tensor([1, gain, gain])
        world.append(now)
    return {
        "params_pred": torch.cat([camera, root, pose, shape], -1),
        "cams_init": coarse,
        "motion_offsets3D": torch.stack([maps["motion_map_3d"][n, :, z, y, x] for n, z, y, x in points]),
        "world_cams": torch.stack(world),
        "world_rotation": torch.stack([gram_schmidt(six) for six in root + turned]),
    }


def gram_schmidt(six: Tensor) -> Tensor:
    """Three rows of two: the columns of a rotation, made orthogonal."""
    a, b = six.view(3, 2).unbind(1)
    a = a / math.sqrt(float(a @ a))
    b = b - (a @ b) * a
    b = b / math.sqrt(float(b @ b))
    return torch.stack([a, b, torch.linalg.cross(a, b)], dim=1)
