"""Each loss term by hand, under its invariances, by finite differences, and in the module it claims to train."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from random_case import PRIOR
from small_network import SMALL
from torch import Tensor

from trace_data.schema.clip import PERSON_MASKS
from trace_data.shards.reader import ShardReader
from trace_train.body.layer import BodyLayer
from trace_train.build import body_layers, build_network
from trace_train.config import Config, load_config
from trace_train.geometry.rotations import matrix_from_axis_angle
from trace_train.losses import body, center_maps, keypoints
from trace_train.losses.reduce import distance, masked, norm
from trace_train.losses.table import LOSSES
from trace_train.network.flow import NoFlow
from trace_train.streaming.batch import Batch
from trace_train.streaming.stream import TrainStream
from trace_train.training.initialise import start_from_means
from trace_train.training.loss_module import LossModule, batch_targets

G = torch.Generator().manual_seed(0)


def test_masked_mean_ignores_what_is_masked_even_nan() -> None:
    values = torch.tensor([1.0, 3.0, float("nan")], requires_grad=True)
    term = masked(values, torch.tensor([True, True, False]))
    assert term.mean().item() == 2.0
    (gradient,) = torch.autograd.grad(term.mean(), values)
    assert gradient.tolist() == [0.5, 0.5, 0.0]
    nothing = masked(values, torch.zeros(3, dtype=torch.bool))
    assert nothing.mean().item() == 0.0 and nothing.count.item() == 0


def test_norm_has_a_gradient_at_zero() -> None:
    x = torch.zeros(3, requires_grad=True)
    (gradient,) = torch.autograd.grad(norm(x), x)
    assert gradient.tolist() == [0.0, 0.0, 0.0]


def test_focal_by_hand() -> None:
    logits = torch.tensor([[[0.0, 2.0]]])
    heat = torch.tensor([[[1.0, 0.5]]])
    p = 1 / (1 + math.exp(-2))
    expected = -(math.log(0.5) * 0.25 + math.log(1 - p) * p**2 * 0.5**4)
    assert center_maps.focal(logits, heat, torch.tensor([True])).mean().item() == pytest.approx(expected, rel=1e-6)


def test_focal_of_raw_values_is_clamped_in_the_logarithm() -> None:
    heat = torch.tensor([[[1.0, 0.5, 0.0]]])
    for raw in ((0.4, 0.7, 0.1), (-0.2, 1.3, -2.0)):
        q = [min(max(v, 0.001), 0.999) for v in raw]
        expected = -math.log(q[0]) * (1 - raw[0]) ** 2
        expected -= sum(math.log(1 - q[i]) * raw[i] ** 2 * (1 - (0.5, 0.0)[i - 1]) ** 4 for i in (1, 2))
        found = center_maps.focal(torch.tensor([[raw]]), heat, torch.tensor([True]), logits=False).mean()
        assert found.item() == pytest.approx(expected, rel=1e-5)


def test_focal_stays_finite_and_keeps_its_gradient_far_out() -> None:
    logits = torch.linspace(-60, 60, 101).reshape(1, 1, -1).requires_grad_()
    for value in (0.0, 0.9, 1.0):
        loss = center_maps.focal(logits, torch.full((1, 1, 101), value), torch.tensor([True])).mean()
        (gradient,) = torch.autograd.grad(loss, logits)
        assert bool(loss.isfinite()) and bool(gradient.isfinite().all())
    # the published clamped form has none here
    assert abs(float(gradient[0, 0, 10])) > 0.1 / 101


def test_masked_frames_do_not_count_in_focal() -> None:
    logits, heat = torch.randn(3, 4, 4, generator=G), torch.rand(3, 4, 4, generator=G)
    heat[:, 1, 1] = 1
    one = center_maps.focal(logits[:1], heat[:1], torch.tensor([True])).mean()
    assert torch.isclose(center_maps.focal(logits, heat, torch.tensor([True, False, False])).mean(), one)


def test_joint_losses_by_hand_and_under_permutation_of_people() -> None:
    target = torch.randn(4, 5, 3, generator=G)
    mask = torch.ones(4, 5, dtype=torch.bool)
    mask[1, 2:] = False
    predicted = target + torch.tensor([0.0, 0.3, 0.4])
    assert keypoints.joints3d(predicted, target, mask).mean().item() == pytest.approx(0.5)
    noisy = predicted + torch.randn(4, 5, 3, generator=G)
    order = torch.tensor([3, 1, 0, 2])
    for term in (keypoints.joints3d, keypoints.pa_joints3d):
        a, b = term(noisy, target, mask).mean(), term(noisy[order], target[order], mask[order]).mean()
        assert torch.isclose(a, b)
    wild = noisy.clone()
    wild[1, 2:] = 1e6
    assert torch.isclose(keypoints.joints3d(wild, target, mask).mean(), keypoints.joints3d(noisy, target, mask).mean())


def test_errors_below_the_knee_count_quadratically() -> None:
    for delta, expected in ((0.0, 0.5), (1.0, 0.125), (0.25, 0.375)):  # as torch's huber_loss, over delta
        target, mask = torch.zeros(1, 5, 3), torch.ones(1, 5, dtype=torch.bool)
        off = torch.tensor([0.0, 0.3, 0.4])
        assert keypoints.joints3d(target + off, target, mask, delta).mean().item() == pytest.approx(expected)
        if delta:
            reference = torch.nn.functional.huber_loss(torch.tensor(0.5), torch.tensor(0.0), delta=delta) / delta
            assert expected == pytest.approx(reference.item())
        square = torch.randn(1, 6, 3, generator=G)
        mask = torch.ones(1, 6, dtype=torch.bool)
        assert keypoints.pa_joints3d(2 * square, square, mask, delta).mean().item() < 1e-5
        turned = matrix_from_axis_angle(torch.tensor([[0.4, 0.0, 0.0]]))
        apart = math.sqrt(8) * math.sin(0.2)
        expected = apart if not delta else apart**2 / (2 * delta) if apart < delta else apart - delta / 2
        term = body.rotation(turned, torch.eye(3)[None], torch.tensor([True]), delta)
        assert term.mean().item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("people", [1, 2, 3, 4])
def test_procrustes_ignores_rotation_scale_and_shift_for_any_number_of_people(people: int) -> None:
    target = torch.randn(people, 14, 3, generator=G).double()
    turn = matrix_from_axis_angle(torch.randn(people, 3, generator=G).double())
    moved = 1.7 * target @ turn.transpose(1, 2) + torch.randn(people, 1, 3, generator=G).double()
    mask = torch.ones(people, 14, dtype=torch.bool)
    assert keypoints.pa_joints3d(moved, target, mask).mean().item() < 1e-5
    mirrored = target * torch.tensor([-1.0, 1.0, 1.0]).double()
    assert keypoints.pa_joints3d(mirrored, target, mask).mean().item() > 0.05


def test_rotation_and_shape_and_camera_by_hand() -> None:
    half_turn = matrix_from_axis_angle(torch.tensor([[math.pi, 0.0, 0.0]]))
    yes = torch.tensor([True])
    assert body.rotation(half_turn, torch.eye(3)[None], yes).mean().item() == pytest.approx(math.sqrt(8), rel=1e-5)
    joints = torch.eye(3).expand(1, 2, 3, 3).clone()
    joints[0, 0] = half_turn[0]
    assert body.rotation(joints, torch.eye(3).expand(1, 2, 3, 3), yes).mean().item() == pytest.approx(
        math.sqrt(2), rel=1e-4
    )
    betas = torch.zeros(1, 10)
    betas[0, 1] = 2.0
    assert body.shape(betas, torch.zeros(1, 10), yes, yes).mean().item() == pytest.approx(0.64 * 2 / 20, rel=1e-4)
    assert body.shape(betas, torch.zeros(1, 10), yes, ~yes).mean().item() == pytest.approx(0.4 / 80, rel=1e-6)
    triple = torch.tensor([[0.5, 0.3, 0.4]])
    assert distance(triple, torch.tensor([[0.5, 0.0, 0.0]]), yes).mean().item() == pytest.approx(0.5)


def test_gradients_match_finite_differences() -> None:
    target, mask = torch.randn(2, 6, 3, generator=G).double(), torch.ones(2, 6, dtype=torch.bool)
    point = (target + 0.3 * torch.randn(2, 6, 3, generator=G).double()).requires_grad_()
    for delta in (0.0, 0.3):
        assert torch.autograd.gradcheck(lambda x, d=delta: keypoints.joints3d(x, target, mask, d).mean(), point)
    flat = point.detach()[..., :2].clamp(-2, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: keypoints.joints2d(x, target[..., :2], mask).mean(), flat)
    rotation = torch.randn(2, 3, 3, generator=G).double().requires_grad_()
    yes = torch.ones(2, dtype=torch.bool)
    assert torch.autograd.gradcheck(
        lambda x: body.rotation(x, torch.eye(3).double().expand(2, 3, 3), yes).mean(), rotation
    )


FEATURES = {"backbone", "temp_model", "offset_feature_convert", "feature_offset_predictor", "deform_warper"}
"""What every term trains: the features that all heads read."""
MOTION = {"motion_head", "bv_motion_pre_layers", "bv_motion_out_layers", "motion_map_refiner"}
PERSON = {"temp_trans_regressor", "temp_globalrot_regressor", "temp_smplpose_regressor", "temp_smplshape_regressor"}
FOUND = {"det_head", "bv_pre_layers", "bv_out_layers", "center_map_refiner2", "cam_map_refiner"}
WORLD = {"cam_motion_head", "cam_rot_head"}
TRAINS = {
    "center_map": {"det_head"},
    "center_map_3d": {"bv_pre_layers", "bv_out_layers", "center_map_refiner2"},
    "joints2d": {"param_head", "temp_trans_regressor", "temp_globalrot_regressor", "temp_smplpose_regressor"},
    "joints3d": {"param_head", "temp_globalrot_regressor", "temp_smplpose_regressor", "temp_smplshape_regressor"},
    "pa_joints3d": {"param_head", "temp_smplpose_regressor", "temp_smplshape_regressor"},
    "root_rotation": {"param_head", "temp_globalrot_regressor"},
    "body_pose": {"param_head", "temp_smplpose_regressor"},
    "shape": {"param_head", "temp_smplshape_regressor"},
    "camera": {"param_head", "temp_trans_regressor", "cam_map_refiner", "bv_out_layers", "det_head"},
    "pose_prior": {"param_head", "temp_smplpose_regressor"},
    "shape_consistency": {"param_head", "temp_smplshape_regressor"},
    "camera_consistency": {"param_head", "temp_trans_regressor", "cam_map_refiner", "bv_out_layers", "det_head"},
    "root_consistency": {"param_head", "temp_globalrot_regressor"},
    "motion_offsets": MOTION,
    "world_rotation": WORLD,
    "world_root": WORLD,
    "world_translation": {"cam_motion_head"},
    "world_scale": {"cam_motion_head"},
    "world_joints2d": {"cam_motion_head"},
    "world_velocity": {"cam_motion_head"},
    "foot_velocity": WORLD,
    "foot_contact": WORLD,
}
"""Which modules each term must reach, beside the features; the rotation head shares the motion head's first blocks."""
MAY = {
    "center_map": set(),
    "center_map_3d": {"det_head"},
    "joints2d": {*PERSON, "param_head", "det_head", "bv_pre_layers", "bv_out_layers", "cam_map_refiner"},
    "joints3d": PERSON - {"temp_trans_regressor"} | {"param_head"},
    "pa_joints3d": PERSON - {"temp_trans_regressor"} | {"param_head"},
    "camera": {"bv_pre_layers"},
    "camera_consistency": {"bv_pre_layers"},
}
"""Further modules a term may reach; all others it must not."""


@pytest.fixture(scope="module")
def setup(shards: Path, packs: Path) -> tuple[Config, dict[str, dict[str, float]]]:
    """Gradient norm of each module under each term alone."""
    config = load_config("debug", [*SMALL, "stages=[{clips: 4, frames: 3}]"])
    torch.manual_seed(0)
    network = build_network(config.network)
    layer = body_layers(packs)["neutral"]
    batch = next(iter(TrainStream(ShardReader(shards), config).batches(0, 1)))
    start_from_means(network, [batch_targets(network, batch)])
    with torch.no_grad():  # a fresh network rests, and feet that rest have nothing to learn
        network.cam_motion_head[-1].weight.mul_(30)  # type: ignore[operator, union-attr]
    table: dict[str, dict[str, float]] = {}
    for name in LOSSES:
        alone = config.model_copy(update={"loss": config.loss.model_copy(update={k: float(k == name) for k in LOSSES})})
        network.zero_grad(set_to_none=True)
        loss_module = LossModule(network, layer, alone, NoFlow(network.motion_channels)).train()
        loss_module.prior = PRIOR
        report = loss_module(batch)
        assert set(report.values) == {name} and int(report.counts[name]) > 0
        report.total.backward()
        assert all(bool(p.grad.isfinite().all()) for p in network.parameters() if p.grad is not None)
        table[name] = {
            child: math.sqrt(sum(float(p.grad.square().sum()) for p in module.parameters() if p.grad is not None))
            for child, module in network.named_children()
        }
    return config, table


@pytest.mark.parametrize("term", sorted(TRAINS))
def test_each_term_trains_what_it_claims(setup: tuple[Config, dict[str, dict[str, float]]], term: str) -> None:
    _, table = setup
    assert set(table) == set(TRAINS)
    reached = {module for module, size in table[term].items() if size > 0}
    wanted = TRAINS[term] | FEATURES
    assert wanted <= reached, wanted - reached
    assert reached <= wanted | MAY.get(term, set()), reached - wanted


def test_total_is_the_weighted_sum(shards: Path, packs: Path) -> None:
    config = load_config("debug", ["steps=4", "network.input_size=64"])
    torch.manual_seed(0)
    network, layer = build_network(config.network), body_layers(packs)["neutral"]
    batch = next(iter(TrainStream(ShardReader(shards), config).batches(0, 1)))
    report = LossModule(network, layer, config, NoFlow(network.motion_channels)).train()(batch)
    expected: Tensor = sum((report.weights[k] * v for k, v in report.values.items()), torch.zeros(()))
    assert torch.isclose(report.total, expected)


def flipped(batch: Batch) -> Batch:
    """The same batch with its people in another order."""
    new: dict[str, Any] = {"masks": {k: v.flip(1) if k in PERSON_MASKS else v for k, v in batch.masks.items()}}
    per_person = ("identity", "gender", "present", "pose", "betas", "betas_neutral", "translation", "kp2d", "kp3d")
    return replace(batch, **new, **{name: getattr(batch, name).flip(1) for name in per_person})


def learner_of(clips: int, frames: int, shards: Path, packs: Path) -> tuple[LossModule, Batch]:
    """A small network with temporal parts, in evaluation mode, and a batch."""
    config = load_config("debug", [*SMALL, f"stages=[{{clips: {clips}, frames: {frames}}}]"])
    torch.manual_seed(0)
    network = build_network(config.network)
    batch = next(iter(TrainStream(ShardReader(shards), config).batches(0, 1)))
    return LossModule(network, body_layers(packs)["neutral"], config, NoFlow(network.motion_channels)).eval(), batch


def test_whose_row_a_person_is_in_changes_no_loss(shards: Path, packs: Path) -> None:
    """Tracks are kept apart by identity from the annotations to the last term."""
    loss_module, batch = learner_of(4, 3, shards, packs)
    assert batch.present.shape[1] > 1
    with torch.no_grad():
        one, other = loss_module(batch), loss_module(flipped(batch))
    assert set(one.values) > {"shape_consistency", "world_rotation", "world_translation"}
    for name, value in one.values.items():
        assert torch.allclose(other.values[name], value, rtol=1e-4, atol=1e-6), name
        assert torch.equal(other.counts[name], one.counts[name]), name


@pytest.mark.parametrize("frames", [1, 3])
def test_people_are_read_once_a_step(frames: int, shards: Path, packs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loss_module, batch = learner_of(2, frames, shards, packs)
    calls: list[str] = []

    def counted(owner: type, name: str) -> None:
        original = getattr(owner, name)

        def call(self: Any, *args: Any, **settings: Any) -> Any:
            calls.append(name)
            return original(self, *args, **settings)

        monkeypatch.setattr(owner, name, call)

    counted(type(loss_module.network), "regress")
    counted(type(loss_module.network), "follow")
    counted(BodyLayer, "forward")
    report = loss_module(batch)
    assert sorted(calls) == (["forward", "regress"] if frames == 1 else ["follow", "forward", "regress"])
    assert ("world_root" in report.values) == (frames > 1)
