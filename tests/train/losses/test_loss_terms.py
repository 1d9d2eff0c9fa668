"""What every loss term must hold to, by its name: a term that is added without it fails here.

By hand, under another order of people, with nonsense under its masks, by finite differences, and finite at the edges.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from perfect import perfect, perfect_maps
from random_case import PRIOR, random_case, random_world
from torch import Tensor

from trace_train.body.layer import BodyLayer
from trace_train.build import body_layers
from trace_train.config import LossConfig
from trace_train.geometry.procrustes import similarity
from trace_train.geometry.rotations import IDENTITY_6D, matrix_from_axis_angle
from trace_train.losses import body, center_maps, keypoints, prior, table, tracks
from trace_train.losses.loss_inputs import LossInputs
from trace_train.losses.objective import LossReport, objective
from trace_train.losses.reduce import Term, distance, norm
from trace_train.losses.table import LOSSES
from trace_train.network.outputs import Maps, People, TrackedPeople
from trace_train.targets import Targets, WorldTargets

YES = torch.tensor([[True, True]])
TIMES = torch.tensor([[0.0, 0.5]])


def turned(*angles: float) -> Tensor:
    """(1, T, 3, 3) rotations about x."""
    return matrix_from_axis_angle(torch.tensor([[angle, 0.0, 0.0] for angle in angles]))[None]


def series(*places: tuple[float, ...]) -> Tensor:
    """(1, T, D)."""
    return torch.tensor([places])


def focal() -> tuple[Term, float]:
    """A hit of probability 1/2, and a miss beside a centre."""
    p = 1 / (1 + math.exp(-2))
    term = center_maps.focal(torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 0.5]]), torch.tensor([True]))
    return term, -(math.log(0.5) * 0.25 + math.log(1 - p) * p**2 * 0.5**4)


def pairs_of_rotations() -> tuple[Term, float]:
    """Turns of 1.0, 0.5 and 1.5 rad, predicted as 0.7, 0.6 and 1.3."""
    three = torch.ones(1, 3, dtype=torch.bool)
    return tracks.rotation_pairs(turned(0.3, 1.0, 1.6), turned(0.0, 1.0, 1.5), three), (0.3 + 0.1 + 0.2) / 3


def pairs_of_places() -> tuple[Term, float]:
    """Ways of 1 and 1 and 2 m, predicted as 2 and 1 and 3."""
    three = torch.ones(1, 3, dtype=torch.bool)
    places = series((5.0, 0, 0), (7.0, 0, 0), (8.0, 0, 0)), series((0.0, 0, 0), (1.0, 0, 0), (2.0, 0, 0))
    return tracks.translation_pairs(*places, three), (1 + 0 + 1) / 3


def aligned() -> tuple[Term, float]:
    """Corners of a cross, one half of whose bars is longer: after the best similarity, by formula."""
    target = torch.tensor([[1.0, 0, 0], [-1.0, 0, 0], [0, 1.0, 0], [0, -1.0, 0]])
    long = target * torch.tensor([1.5, 1.0, 1.0])
    scale = (2 * 1.5 + 2) / (2 * 1.5**2 + 2)
    term = keypoints.pa_joints3d(long[None], target[None], torch.ones(1, 4, dtype=torch.bool))
    return term, (abs(1.5 * scale - 1) + abs(scale - 1)) / 2


def scales() -> tuple[Term, float]:
    """A way of 2 m predicted as 4."""
    spreads = [(2.0**2) + tracks.STILL**2, 1.0 + tracks.STILL**2]
    term = tracks.log_scale(series((0.0, 0, 0), (4.0, 0, 0)), series((0.0, 0, 0), (2.0, 0, 0)), YES)
    return term, 0.5 * math.log(spreads[0] / spreads[1])


def shapes() -> tuple[Term, float]:
    """One person whose second coefficient is off by 2, one of whom nothing is known."""
    betas = torch.zeros(2, 10)
    betas[:, 1] = 2.0
    known = torch.tensor([True, False])
    return body.shape(betas, torch.zeros(2, 10), torch.ones(2, dtype=torch.bool), known), (0.64 * 2 / 20 + 0.4 / 80) / 2


def standing_feet() -> tuple[Term, float]:
    """Of two feet that stand, one is moved by 1 m/s and one by a quarter of the limit; another walks."""
    feet = torch.zeros(1, 2, 3, 3)
    feet[0, 1, :, 0] = torch.tensor([0.5, 0.0375, 9.0])
    stands = torch.tensor([[[False] * 3, [True, True, False]]])
    return tracks.standing(feet, torch.ones(1, 2, 3, dtype=torch.bool), stands, TIMES, 0.3), (1.0 - 0.3) / 2


def moved(by: float, *, feet: bool = False) -> tuple[Term, float]:
    """`by` metres too far in half a second."""
    found, wanted = torch.zeros(1, 2, 3), torch.zeros(1, 2, 3)
    found[0, 1, 2] = by
    if feet:
        found, wanted = found[:, :, None], wanted[:, :, None]
    mask = torch.ones(found.shape[:-1], dtype=torch.bool)
    return tracks.velocity(found, wanted, mask, TIMES), by / 0.5


def unlikely() -> tuple[Term, float]:
    """One joint turned by 1 rad: half of 2000, and 100."""
    pose = torch.eye(3).repeat(1, 21, 1, 1)
    pose[0, 4] = turned(1.0)[0, 0]
    return prior.pose_prior(pose, PRIOR, torch.tensor([True])), 1100 / 100 - 8


def half_turn(*, joints: bool = False) -> tuple[Term, float]:
    """A half turn has distance sqrt(8); one of two joints has half of it."""
    found = turned(math.pi, 0.0)
    wanted = torch.eye(3).expand(1, 2, 3, 3)
    if joints:
        return body.rotation(found, wanted, torch.tensor([True])), math.sqrt(8) / 2
    return body.rotation(found[:, :1], wanted[:, :1], torch.tensor([[True]])), math.sqrt(8)


def apart(*, clamped: bool = False) -> tuple[Term, float]:
    """Two distances, 0.5 and 1; where places in the picture are compared one is held within 3 half widths."""
    found = torch.tensor([[0.3, 0.4], [0.0, 4.0 if clamped else 1.0]])
    wanted = torch.tensor([[0.0, 0.0], [0.0, 2.0 if clamped else 0.0]])
    term = (keypoints.joints2d if clamped else distance)(found, wanted, torch.tensor([True, True]))
    return term, 0.75


def per_person() -> tuple[Term, float]:
    """A mean over a person's joints, then over people: 0.5 of two joints, 2 of one."""
    found = torch.zeros(2, 2, 3)
    found[0, :, 1], found[1, :, 1] = torch.tensor([0.2, 0.8]), torch.tensor([2.0, 99.0])
    mask = torch.tensor([[True, True], [True, False]])
    return keypoints.joints3d(found, torch.zeros(2, 2, 3), mask), 1.25


def jerk(values: tuple[float, ...]) -> tuple[Term, float]:
    """First differences off by 1 and 1, second ones by 2."""
    found = torch.tensor(values)[None, :, None]
    return tracks.differences(found, torch.zeros_like(found), torch.ones(1, 3, dtype=torch.bool)), (1 + 1 + 2) / 3


def unsteady() -> tuple[Term, float]:
    """Two frames, each one off their mean."""
    return tracks.steady_shape(series((0.0, 0.0), (0.0, 2.0)), YES), 1.0


BY_HAND: Mapping[str, Callable[[], tuple[Term, float]]] = {
    "center_map": focal,
    "center_map_3d": focal,
    "joints2d": lambda: apart(clamped=True),
    "joints3d": per_person,
    "pa_joints3d": aligned,
    "root_rotation": half_turn,
    "body_pose": lambda: half_turn(joints=True),
    "shape": shapes,
    "camera": apart,
    "pose_prior": unlikely,
    "shape_consistency": unsteady,
    "camera_consistency": lambda: jerk((0.0, 1.0, 0.0)),
    "root_consistency": lambda: jerk((1.0, 0.0, 1.0)),
    "motion_offsets": apart,
    "world_rotation": pairs_of_rotations,
    "world_root": half_turn,
    "world_translation": pairs_of_places,
    "world_scale": scales,
    "world_joints2d": lambda: apart(clamped=True),
    "world_velocity": lambda: moved(0.25),
    "foot_velocity": lambda: moved(0.25, feet=True),
    "foot_contact": standing_feet,
}


def test_every_term_has_a_weight_and_a_value_by_hand() -> None:
    assert set(LOSSES) == set(LossConfig.model_fields) == set(BY_HAND)


@pytest.mark.parametrize("name", BY_HAND)
def test_a_term_by_hand(name: str) -> None:
    term, expected = BY_HAND[name]()
    assert term.mean().item() == pytest.approx(expected, rel=1e-4)


# --- all terms on one case ---------------------------------------------------------------------------------------


class Case:
    """Predictions that can be moved, against targets."""

    def __init__(self, layer: BodyLayer, frames: int = 3) -> None:
        self.layer, self.prior = layer, PRIOR
        maps, people, targets = random_case(frames)
        tracked, targets = random_world(people, targets)
        self.targets = targets
        people = tracked.people
        assert people.motion is not None
        self.leaves = {
            "center": maps.center,
            "center_3d": maps.center_3d,
            "camera": people.camera,
            "root_6d": people.root_6d,
            "pose_6d": people.pose_6d,
            "shape": people.shape,
            "motion": people.motion,
            "world_camera": tracked.world_camera,
            "world_root": tracked.world_root,
        }

    def predictions(self, leaves: Mapping[str, Tensor]) -> tuple[Maps, People, TrackedPeople]:
        nothing = torch.zeros(1)
        maps = Maps(center=leaves["center"], center_3d=leaves["center_3d"], camera=nothing, mesh=nothing)
        people = People(
            camera=leaves["camera"],
            camera_coarse=leaves["camera"],
            root_6d=leaves["root_6d"],
            pose_6d=leaves["pose_6d"],
            shape=leaves["shape"],
            motion=leaves["motion"],
        )
        seen = self.targets.center_mask.flatten(0, 1)
        where = {key: leaves[key] for key in ("world_camera", "world_root")}
        return maps, people, TrackedPeople(people=people, mask=seen, **where)

    def report(self, *names: str, leaves: Mapping[str, Tensor] | None = None) -> LossReport:
        maps, people, tracked = self.predictions(leaves or self.leaves)
        weights = dict.fromkeys(LOSSES, 0.0) | dict.fromkeys(names, 1.0)
        return objective(maps, people, self.targets, self.layer, weights, tracked=tracked, prior=self.prior)

    def gradients(self, name: str) -> tuple[Tensor, dict[str, Tensor]]:
        """A term's value, and its gradient in those leaves that it has one in."""
        leaves = {key: value.clone().requires_grad_() for key, value in self.leaves.items()}
        value = self.report(name, leaves=leaves).total
        found = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
        return value, {key: gradient for key, gradient in zip(leaves, found) if gradient is not None}

    def inputs(self, leaves: Mapping[str, Tensor]) -> LossInputs:
        maps, people, tracked = self.predictions(leaves)
        return LossInputs(
            maps=maps,
            people=people,
            targets=self.targets,
            layer=self.layer,
            tracked=tracked,
            prior=self.prior,
            center_logits=True,
            published_camera=False,
        )


def doubled(values: Any) -> Any:
    """A dataclass with its tensors in double precision."""
    new: dict[str, Any] = {}
    for field in fields(values):
        value = getattr(values, field.name)
        if isinstance(value, Tensor) and value.is_floating_point():
            new[field.name] = value.double()
        elif isinstance(value, WorldTargets):
            new[field.name] = doubled(value)
    return replace(values, **new)


@pytest.fixture(scope="module")
def layer(packs: Path) -> BodyLayer:
    return body_layers(packs)["neutral"]


@pytest.fixture
def case(layer: BodyLayer) -> Case:
    return Case(layer)


PEOPLE = ("camera", "root_6d", "pose_6d", "shape", "motion", "world_camera", "world_root")


def by_person(values: Tensor, clips: int) -> Tensor:
    """(S, T, ...) with the people of each clip in another order."""
    return values.unflatten(0, (clips, -1)).flip(1).flatten(0, 1)


def every_mask_applied(targets: Targets, fill: float) -> Targets:
    """Targets with `fill` wherever a mask says that nothing is known."""

    def apply(values: Any, names: tuple[str, ...], seen: Tensor) -> dict[str, Tensor]:
        out = {}
        for name in names:
            value, mask = getattr(values, name), getattr(values, f"{name}_mask")
            known = mask & seen[(..., *[None] * (mask.dim() - 3))]
            wide = known[(..., *[None] * (value.dim() - known.dim()))]
            out[name] = torch.where(wide, value, torch.full_like(value, fill))
        return out

    seen = targets.center_mask
    world = targets.world
    assert world is not None
    world_names = ("motion", "joints2d", "camera", "root_rotation", "feet")
    names = ("joints2d", "joints3d", "root_rotation", "body_pose", "shape", "camera")
    return replace(
        targets,
        **apply(targets, names, seen),
        world=replace(world, **apply(world, world_names, seen)),
    )


@pytest.mark.parametrize("name", LOSSES)
def test_people_may_come_in_any_order(case: Case, name: str) -> None:
    expected = case.report(name).values[name]
    clips = len(case.targets.center_mask)
    case.leaves |= {key: by_person(case.leaves[key], clips) for key in PEOPLE}

    def flipped(values: Any) -> dict[str, Tensor]:
        shape = case.targets.center_mask.shape[:2]
        found = {f.name: getattr(values, f.name) for f in fields(values)}
        apart = ("frame_mask", "seconds", "center_map", "center_map_3d", "center_map_3d_mask")
        return {
            key: value.flip(1)
            for key, value in found.items()
            if isinstance(value, Tensor) and value.shape[:2] == shape and key not in apart
        }

    assert case.targets.world is not None
    world = replace(case.targets.world, **flipped(case.targets.world))
    case.targets = replace(case.targets, **flipped(case.targets), world=world)
    assert torch.allclose(case.report(name).values[name], expected, rtol=1e-4)


@pytest.mark.parametrize("name", LOSSES)
def test_what_is_masked_is_absent_even_nan(case: Case, name: str) -> None:
    seen = case.targets.center_mask.clone()
    seen[0, 1, 1] = False
    case.targets = replace(case.targets, center_mask=seen)
    expected, gradients = case.gradients(name)
    count = case.report(name).counts[name]
    case.targets = every_mask_applied(case.targets, float("nan"))
    # maps are masked by the frame, and made of zeros and more: anything finite may stand there
    frames = case.targets.frame_mask.flatten()
    volumes = frames & case.targets.center_map_3d_mask
    heat, volume = case.targets.center_map.clone(), case.targets.center_map_3d.clone()
    heat[~frames], volume[~volumes] = 7.0, 7.0
    case.targets = replace(case.targets, center_map=heat, center_map_3d=volume)
    for key in PEOPLE:  # nor does a prediction matter where nobody is seen
        case.leaves[key] = case.leaves[key].clone()
        case.leaves[key][~seen.flatten(0, 1)] *= 3.0
    found, again = case.gradients(name)
    assert torch.allclose(found, expected, rtol=1e-4) and torch.equal(case.report(name).counts[name], count)
    assert gradients.keys() == again.keys()
    for key, gradient in again.items():
        assert bool(gradient.isfinite().all()), key
        here = seen.flatten(0, 1) if key in PEOPLE else slice(None)
        assert torch.allclose(gradient[here], gradients[key][here], rtol=1e-3, atol=1e-6), key
        if key in PEOPLE:
            assert not gradient[~seen.flatten(0, 1)].any(), key


def held_constant(case: Case, name: str) -> Callable[[Mapping[str, Tensor]], Tensor]:
    """A term as a function of predictions, with what is a constant for the gradient kept from the first ones."""
    if name == "pa_joints3d":
        base, wanted = case.inputs(case.leaves).joints, case.targets.joints3d.flatten(0, 1)
        mask = case.targets.joints3d_mask.flatten(0, 1)
        scale, turn, shift = similarity(base, wanted, mask)

        def pa(leaves: Mapping[str, Tensor]) -> Tensor:
            joints = case.inputs(leaves).joints
            joints = scale[..., None, None] * (joints @ turn.mT) + shift[..., None, :]
            return keypoints.joints3d(joints, wanted, mask).mean()

        return pa
    if name == "shape_consistency":
        mean = case.leaves["shape"][..., :10].mean(1, keepdim=True)
        return lambda leaves: norm(leaves["shape"][..., :10] - mean).mean()
    return lambda leaves: case.report(name, leaves=leaves).total


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_finite_differences(layer: BodyLayer, name: str) -> None:
    case = Case(layer)
    case.layer, case.prior = copy.deepcopy(layer).double(), doubled(PRIOR)
    case.targets, case.leaves = doubled(case.targets), {key: value.double() for key, value in case.leaves.items()}
    value, gradients = case.gradients(name)
    assert value.item() > 0 and any(bool(gradient.any()) for gradient in gradients.values())
    function = held_constant(case, name)
    assert float(function(case.leaves)) == pytest.approx(value.item(), rel=1e-6)
    g, small = torch.Generator().manual_seed(3), 1e-6
    for key, gradient in gradients.items():
        direction = torch.randn(gradient.shape, generator=g, dtype=torch.float64)
        ahead, back = (float(function({**case.leaves, key: case.leaves[key] + s * direction})) for s in (small, -small))
        slope = (ahead - back) / (2 * small)
        assert slope == pytest.approx(float((gradient * direction).sum()), rel=1e-4, abs=1e-7), key


def resting(case: Case) -> None:
    """Predicted exactly right, nobody moves and every rotation is the identity."""
    eye, targets = torch.eye(3), case.targets
    world = targets.world
    assert world is not None
    still = {"camera": world.camera[:, :, :1].expand_as(world.camera), "motion": torch.zeros_like(world.motion)}
    world = replace(
        world,
        **still,
        root_rotation=eye.expand_as(world.root_rotation),
        feet=world.feet[:, :, :1].expand_as(world.feet),
        stands=torch.ones_like(world.stands),
    )
    case.targets = replace(
        targets,
        root_rotation=eye.expand_as(targets.root_rotation),
        body_pose=eye.expand_as(targets.body_pose),
        shape=torch.zeros_like(targets.shape),
        camera=targets.camera[:, :, :1].expand_as(targets.camera),
        world=world,
    )
    people, tracked = perfect(case.targets)
    maps = perfect_maps(case.targets)
    assert people.motion is not None
    case.leaves = {
        "center": maps.center,
        "center_3d": maps.center_3d,
        **{key: getattr(people, key) for key in ("camera", "root_6d", "pose_6d", "shape", "motion")},
        "world_camera": tracked.world_camera,
        "world_root": tracked.world_root,
    }
    rest = torch.tensor(IDENTITY_6D)
    case.leaves |= {key: rest.expand_as(case.leaves[key]).clone() for key in ("root_6d", "pose_6d")}


def half_turned(case: Case) -> None:
    """Every rotation is predicted half a turn off."""
    resting(case)
    turn = matrix_from_axis_angle(torch.tensor([0.0, math.pi, 0.0]))
    case.leaves["world_root"] = case.leaves["world_root"] @ turn
    for key in ("root_6d", "pose_6d"):
        case.leaves[key] = (turn @ case.leaves[key].unflatten(-1, (3, 2))).flatten(-2)


def nobody(case: Case) -> None:
    """Nobody is seen and no frame is annotated."""
    targets = case.targets
    case.targets = replace(
        targets,
        center_mask=torch.zeros_like(targets.center_mask),
        frame_mask=torch.zeros_like(targets.frame_mask),
    )


def behind(case: Case) -> None:
    """Raw outputs as an untrained network may give them: people at infinity and behind the camera."""
    case.leaves["camera"] = torch.full_like(case.leaves["camera"], -0.5)
    case.leaves["world_camera"] = torch.zeros_like(case.leaves["world_camera"])
    case.leaves["root_6d"] = torch.zeros_like(case.leaves["root_6d"])
    case.leaves["center"], case.leaves["center_3d"] = 80 * case.leaves["center"], -80 * case.leaves["center_3d"]


@pytest.mark.parametrize("edge", [resting, half_turned, nobody, behind])
@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_finite_at_the_edges(case: Case, name: str, edge: Callable[[Case], None]) -> None:
    edge(case)
    value, gradients = case.gradients(name)
    assert bool(value.isfinite())
    for key, gradient in gradients.items():
        assert bool(gradient.isfinite().all()), key
    if edge is nobody:
        assert value.item() == 0 and not any(bool(gradient.any()) for gradient in gradients.values())


@pytest.mark.parametrize("name", LOSSES)
def test_of_one_frame_only_terms_of_frames_are_there(layer: BodyLayer, name: str) -> None:
    case = Case(layer, frames=1)
    everything = case.report("shape", name)
    assert (name in everything.values) == (LOSSES[name].scope == "frame")
    assert all(bool(value.isfinite()) for value in everything.values.values())


@pytest.mark.parametrize("name", LOSSES)
def test_counts_are_a_matter_of_the_targets_alone(case: Case, name: str) -> None:
    """So they can be added up over processes and parts of a batch before anything is predicted."""
    before = case.report(name).counts[name]
    case.leaves = {key: torch.randn(value.shape) for key, value in case.leaves.items()}
    assert torch.equal(case.report(name).counts[name], before) and int(before) > 0


@pytest.mark.parametrize("name", LOSSES)
def test_a_term_of_weight_zero_is_not_computed(case: Case, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: LossInputs) -> Term:
        raise AssertionError("computed")

    monkeypatch.setattr(table, "LOSSES", {**LOSSES, name: replace(LOSSES[name], formula=fails)})
    other = "shape" if name != "shape" else "camera"
    assert set(case.report(other).values) == {other}
    with pytest.raises(AssertionError, match="computed"):
        case.report(name)


@pytest.mark.parametrize("name", LOSSES)
def test_two_halves_of_a_batch_give_the_gradient_of_the_whole(case: Case, name: str) -> None:
    """A sum over the counts of both, as processes and parts of a step make it."""
    value, whole = case.gradients(name)
    total = case.report(name).counts[name]
    clips, frames = case.targets.center_mask.shape[0], case.targets.center_mask.shape[2]
    found = torch.zeros(())
    gradients = {key: torch.zeros_like(gradient) for key, gradient in whole.items()}
    for clip in range(clips):
        part = Case(case.layer)

        def own(key: str, leaf: Tensor, clip: int = clip) -> slice:
            size = len(leaf) // clips
            return slice(clip * size, (clip + 1) * size)

        part.leaves = {key: leaf[own(key, leaf)] for key, leaf in case.leaves.items()}
        part.targets = _clip_of(case.targets, clip, frames)
        count = part.report(name).counts[name]
        half, half_gradients = part.gradients(name)
        found = found + half.detach() * count.clamp_min(1) / total
        for key, gradient in half_gradients.items():
            gradients[key][own(key, gradients[key])] = gradient * count.clamp_min(1) / total
    assert torch.allclose(found, value, rtol=1e-4)
    for key, gradient in whole.items():
        assert torch.allclose(gradients[key], gradient, rtol=1e-3, atol=1e-6), key


def _clip_of(targets: Targets, clip: int, frames: int) -> Targets:
    flat = ("center_map", "center_map_3d", "center_map_3d_mask")
    assert targets.world is not None

    def part(values: Any) -> dict[str, Tensor]:
        found = {f.name: getattr(values, f.name) for f in fields(values)}
        return {
            key: value[clip * frames : (clip + 1) * frames] if key in flat else value[clip : clip + 1]
            for key, value in found.items()
            if isinstance(value, Tensor)
        }

    return replace(targets, **part(targets), world=replace(targets.world, **part(targets.world)))


def test_half_precision_around_them_changes_no_term(case: Case) -> None:
    expected = case.report(*LOSSES).values
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = case.report(*LOSSES).values
    for name, value in found.items():
        assert value.dtype == torch.float32 and torch.equal(value, expected[name]), name


# --- what moves as a whole moves nothing -------------------------------------------------------------------------


def test_relative_terms_do_not_see_a_world_that_is_turned_or_shifted() -> None:
    g = torch.Generator().manual_seed(4)
    found, wanted = (matrix_from_axis_angle(torch.randn(3, 5, 3, generator=g).double()) for _ in range(2))
    places, true = (torch.randn(3, 5, 3, generator=g).double() for _ in range(2))
    mask = torch.rand(3, 5, generator=g) < 0.8
    seconds = torch.arange(5.0).expand(3, 5) / 25
    turn = matrix_from_axis_angle(torch.randn(3, 1, 3, generator=g).double())
    shift = torch.randn(3, 1, 3, generator=g).double()
    before = tracks.rotation_pairs(found, wanted, mask).mean()
    assert torch.allclose(tracks.rotation_pairs(turn @ found, wanted, mask).mean(), before, atol=1e-9)
    for term in (tracks.translation_pairs, tracks.log_scale, tracks.differences):
        before = term(places, true, mask).mean()
        assert torch.allclose(term(places + shift, true, mask).mean(), before, atol=1e-9)
        both = [(turn @ (x + shift)[..., None]).squeeze(-1) for x in (places, true)]
        assert torch.allclose(term(both[0], both[1], mask).mean(), before, atol=1e-9)
    before = tracks.velocity(places, true, mask, seconds).mean()
    assert torch.allclose(tracks.velocity(places + shift, true, mask, seconds).mean(), before, atol=1e-9)
    assert torch.allclose(tracks.velocity(places, true, mask, 2 * seconds).mean(), before / 2, atol=1e-9)


def test_the_same_rotation_in_other_numbers_is_the_same() -> None:
    """A quaternion and its negative: turned by a, or by 2 pi - a the other way round."""
    g = torch.Generator().manual_seed(5)
    axis = torch.nn.functional.normalize(torch.randn(2, 4, 3, generator=g).double(), dim=-1)
    angle = math.pi * torch.rand(2, 4, 1, generator=g).double()
    one, other = matrix_from_axis_angle(axis * angle), matrix_from_axis_angle(-axis * (2 * math.pi - angle))
    mask = torch.ones(2, 4, dtype=torch.bool)
    assert tracks.rotation_pairs(one, other, mask).mean().item() < 1e-6
    assert body.rotation(one, other, mask).mean().item() < 1e-5


def test_a_pair_needs_both_of_its_frames() -> None:
    alone = torch.tensor([[True, False, False], [True, False, True]])
    off = torch.zeros(2, 3, 3)
    off[:, 1] = 100.0
    off[:, 2, 0] = 3.0
    term = tracks.translation_pairs(off, torch.zeros(2, 3, 3), alone)
    assert (int(term.count), term.mean().item()) == (1, pytest.approx(3.0))


def test_a_long_track_weighs_as_much_as_a_short_one() -> None:
    off = torch.zeros(2, 6, 3)
    off[0, :, 0], off[1, 1, 0] = 2.0 * torch.arange(6), 5.0
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[1, 2:] = False
    pairs = [2.0 * (j - i) for i in range(6) for j in range(i + 1, 6)]
    expected = (sum(pairs) / len(pairs) + 5.0) / 2
    assert tracks.translation_pairs(off, torch.zeros_like(off), mask).mean().item() == pytest.approx(expected)
