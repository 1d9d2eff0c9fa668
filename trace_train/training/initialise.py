"""Initialises a new network as the constant predictor of some training batches."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from trace_train.geometry.rotations import IDENTITY_6D, sixd_from_matrix
from trace_train.network.model import TraceNetwork
from trace_train.targets import Targets

CENTER_PRIOR = -4.0
"""Initial bias of the front centre map: almost all cells are empty, so the focal loss starts small."""


@torch.no_grad()
def start_from_means(network: TraceNetwork, targets: list[Targets]) -> None:
    """Initialise the network to predict the mean camera, pose and shape of some training batches.

    The weights of the last layers are scaled down and their biases set to the means
    (docs/reference/training.md#starting-from-the-mean-pose). People do not move, and the camera does not rotate.
    """

    def mean(name: str, mask: str) -> Tensor:
        values = torch.cat([getattr(t, name)[getattr(t, mask) & t.center_mask] for t in targets])
        return values.mean(0) if len(values) else torch.zeros_like(getattr(targets[0], name)[0, 0, 0])

    # rotations are averaged in their 6D representation; a little identity keeps the mean from having zero length
    identity = torch.tensor(IDENTITY_6D)
    root = sixd_from_matrix(mean("root_rotation", "root_rotation_mask")).cpu() + 0.05 * identity
    pose = sixd_from_matrix(mean("body_pose", "body_pose_mask")).cpu() + 0.05 * identity
    shape = torch.zeros(21)
    shape[:10] = mean("shape", "shape_mask").cpu()
    for encoder, bias in (
        (network.temp_trans_regressor, mean("camera", "camera_mask").cpu()),
        (network.temp_globalrot_regressor, torch.cat([root, root])),
        (network.temp_smplpose_regressor, pose.flatten()),
        (network.temp_smplshape_regressor, shape),
    ):
        _begin_at(encoder.out_layers, bias)
    final = network.det_head[-1]
    assert isinstance(final, nn.Conv2d) and final.bias is not None
    final.bias[0] = CENTER_PRIOR
    # the refiner starts as the identity on the composed volume
    _gain(network.center_map_refiner2[0].bn2).fill_(0.1)
    # all depth levels start equal
    _gain(network.bv_out_layers[-1].bn2)[: network.depth_levels] = 0.25
    if network.temporal:
        _begin_at_rest(network)


def _begin_at_rest(network: TraceNetwork) -> None:
    """Zero motion in camera and world space, no camera rotation, and temporal features close to the image features.

    The latter because heads may have been trained on image features alone, in a stage of single frames.
    """
    network.deform_warper.weight.mul_(0.1)
    network.temp_model.cell_list[-1].convq.weight.mul_(0.1)  # type: ignore[union-attr, operator]
    same = torch.tensor(IDENTITY_6D) if network.world_rotation == "composed" else torch.zeros(6)
    _begin_at([network.motion_head[-1], network.cam_motion_head[-1]], torch.zeros(6))
    _begin_at([network.cam_rot_head[-1]], same)
    for norm in (network.bv_motion_out_layers[-1].bn2, network.motion_map_refiner[0].bn2):
        _gain(norm).fill_(0.01)  # motion between frames is a few hundredths of a camera triple


def _gain(norm: nn.Module | Tensor) -> Tensor:
    """The weight of a batch normalisation, plain or synchronised."""
    assert isinstance(norm, nn.modules.batchnorm._BatchNorm)
    return norm.weight


def _begin_at(layers: Iterable[nn.Module], bias: Tensor) -> None:
    at = 0
    for layer in layers:
        assert isinstance(layer, nn.Linear | nn.Conv2d) and layer.bias is not None
        layer.weight.mul_(0.1)
        layer.bias.copy_(bias[at : at + len(layer.bias)])
        at += len(layer.bias)
