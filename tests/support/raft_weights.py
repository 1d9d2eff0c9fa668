"""A RAFT with random weights that are drawn from their names, a clip for it, and torchvision's names of its tensors."""

from __future__ import annotations

import re
import zlib

import numpy as np
import numpy.typing as npt
import torch

from trace_train.network.raft import Raft


def drawn(name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Numbers of a sensible size for the tensor of that name, always the same."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("running_var"):
        return generator.uniform(0.5, 1.5, shape).astype(np.float32)
    noise = generator.standard_normal(shape)
    if len(shape) > 1:  # strong convolutions, so that the flow is some pixels and hangs on every layer
        strength = 0.2 if name.startswith("update_block.flow_head.conv2") else 1.0
        return (strength * noise * (2.0 / np.prod(shape[1:])) ** 0.5).astype(np.float32)
    is_scale = ("norm" in name or "downsample.1" in name) and name.endswith("weight")
    return (0.1 * noise + is_scale).astype(np.float32)


def ours(*, steps: int = 20) -> Raft:
    """Our RAFT, filled."""
    model = Raft(iterations=steps).eval()
    state = {
        name: torch.from_numpy(np.asarray(drawn(name, tuple(value.shape)))) if value.is_floating_point() else value
        for name, value in model.state_dict().items()
    }
    model.load_state_dict(state)
    return model


def clip() -> torch.Tensor:
    """(2, 2, 128, 136, 3) in 0..255: smooth random pictures and the same moved by some pixels."""
    generator = np.random.default_rng(5)
    coarse = torch.from_numpy(generator.uniform(0, 255, (2, 3, 20, 20)))
    big = torch.nn.functional.interpolate(coarse, size=(160, 160), mode="bicubic").clamp(0, 255)
    pair = [big[:, :, 12:140, 10:146], big[:, :, 9:137, 15:151]]
    return torch.stack(pair, dim=1).permute(0, 1, 3, 4, 2).float().contiguous()


def torchvision_name(name: str) -> str:
    """What torchvision calls a tensor of the published file (docs/reference/network.md#names-of-raft-tensors)."""
    for pattern, replacement in (
        (r"^(fnet|cnet)\.conv1\.", r"\1.convnormrelu.0."),
        (r"^(fnet|cnet)\.norm1\.", r"\1.convnormrelu.1."),
        (r"^(fnet|cnet)\.conv2\.", r"\1.conv."),
        (r"(layer\d\.\d)\.conv(\d)\.", r"\1.convnormrelu\2.0."),
        (r"(layer\d\.\d)\.norm(\d)\.", r"\1.convnormrelu\2.1."),
        (r"^fnet\.", "feature_encoder."),
        (r"^cnet\.", "context_encoder."),
        (r"block\.encoder\.convc(\d)\.", r"block.motion_encoder.convcorr\1.0."),
        (r"block\.encoder\.convf(\d)\.", r"block.motion_encoder.convflow\1.0."),
        (r"block\.encoder\.conv\.", "block.motion_encoder.conv.0."),
        (r"block\.gru\.conv([zrq])(\d)\.", r"block.recurrent_block.convgru\2.conv\1."),
        (r"^update_block\.mask\.0\.", "mask_predictor.convrelu.0."),
        (r"^update_block\.mask\.2\.", "mask_predictor.conv."),
    ):
        name = re.sub(pattern, replacement, name)
    return name
