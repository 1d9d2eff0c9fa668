"""A network that knows the annotations: it is right in everything but what a test tells it to get wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from trace_data.schema.clip import ClipRef
from trace_data.shards.reader import ShardReader
from trace_train.body.layer import BodyLayer
from trace_train.evaluation.bodies import true_from_assumed
from trace_train.evaluation.ground_truth import annotated
from trace_train.evaluation.windows import windows_of
from trace_train.geometry.camera import triple_from_translation
from trace_train.geometry.rotations import sixd_from_matrix
from trace_train.network.model import TraceNetwork
from trace_train.network.outputs import Maps, People
from trace_train.streaming.batch import collate
from trace_train.streaming.stream import load_clip

Spoil = Callable[[int, int, int, Tensor, Tensor], tuple[Tensor, Tensor] | None]
"""(sequence, person, frame, place in the camera, place in the world of the first camera) to other places, or None where
the person is not to be found."""
ROOM = 16
"""Side of the maps."""


def as_it_is(sequence: int, person: int, frame: int, place: Tensor, world: Tensor) -> tuple[Tensor, Tensor]:
    return place, world


class Oracle(nn.Module):
    """Behaves like a `TraceNetwork`; it recognises frames by their pixels.

    Its maps hold what `regress` reads out of them. People stand in a row of voxels, whoever and wherever they are.
    """

    center_logits, published_camera = False, False
    world_rotation, world_motion_gain, count_first_motion = "composed", 1.0, False
    follow = TraceNetwork.follow

    def __init__(
        self,
        reader: ShardReader,
        layers: Mapping[str, BodyLayer],
        split: str,
        *,
        temporal: bool = True,
        spoil: Spoil = as_it_is,
        phantoms: int = 0,
    ) -> None:
        """`phantoms`: how many people it sees in every frame beside those who are there."""
        super().__init__()
        self.temporal, self.phantoms = temporal, phantoms
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen: dict[bytes, list[Tensor]] = {}
        for window in windows_of(reader, split):
            ref = ClipRef(sequence=window.sequence, start=0, stride=1, length=window.frames)
            batch = collate([load_clip(reader, ref, 4 * ROOM)])
            truth, lens = annotated(batch, layers), true_from_assumed(batch)[0]
            camera = batch.camera_from_world[0].double()
            before: dict[int, tuple[int, Tensor]] = {}
            values: list[list[Tensor]] = [[] for _ in range(window.frames)]
            for k in range(len(truth.frame)):
                t, person = int(truth.frame[k]), int(truth.person[k])
                first = before[person][0] if person in before else t
                place = camera[t, :3, :3] @ truth.hips[k].double() + camera[t, :3, 3]
                in_world = camera[first, :3, :3] @ truth.hips[k].double() + camera[first, :3, 3]
                spoilt = spoil(window.sequence, person, t, place, in_world)
                if spoilt is None:
                    continue
                triple, world = (
                    triple_from_translation((lens[of].inverse() @ where)[None])[0]
                    for of, where in zip((t, first), spoilt)
                )
                step = world - before[person][1] if person in before else torch.zeros(3)
                before[person] = (first, world)
                turn = camera[first, :3, :3] @ camera[t, :3, :3].mT
                parts = [
                    triple,
                    step,
                    sixd_from_matrix(turn),
                    sixd_from_matrix(truth.root[k]),
                    sixd_from_matrix(truth.rotations[k, 1:22]).flatten(),
                    nn.functional.pad(truth.betas[k], (0, 11)),
                ]
                values[t].append(torch.cat([part.float() for part in parts]))
            for t in range(window.frames):
                self.seen[batch.images[0, t].numpy().tobytes()] = values[t]

    def forward(self, images: Tensor, flow: Tensor | None = None, *, state: object = None) -> Maps:
        frames = images.flatten(0, 1)
        n = len(frames)
        center = torch.zeros(n, 8, ROOM, ROOM)
        content = torch.zeros(n, 3 + 3 + 6 + 6 + 126 + 21, ROOM, ROOM)
        for t, frame in enumerate(frames):
            people = self.seen[frame.numpy().tobytes()]
            for number, values in enumerate([*people, *[phantom(values) for values in people[:1] * self.phantoms]]):
                center[t, 4, 5, 3 * number] = 0.9 - 0.01 * number
                content[t, :, 5, 3 * number] = values
        return Maps(
            center=center[:, 4],
            center_3d=center,
            camera=content[:, :3, None].expand(-1, -1, 8, -1, -1),
            mesh=content[:, 12:],
            world_motion=content[:, 3:6],
            world_rotation=content[:, 6:12],
        )

    def regress(self, maps: Maps, frame: Tensor, zyx: Tensor) -> People:
        z, y, x = zyx.unbind(-1)
        mesh = maps.mesh[frame, :, y, x]
        camera = maps.camera[frame, :, z, y, x]
        assert maps.world_motion is not None and maps.world_rotation is not None
        return People(
            camera=camera,
            camera_coarse=camera,
            root_6d=mesh[..., :6],
            pose_6d=mesh[..., 6:132].unflatten(-1, (21, 6)),
            shape=mesh[..., 132:],
            world_motion=maps.world_motion[frame, :, y, x],
            world_rotation_6d=maps.world_rotation[frame, :, y, x],
        )


def phantom(values: Tensor) -> Tensor:
    """Somebody like this person, far away at the edge."""
    values = values.clone()
    values[:3] = torch.tensor([0.1, 0.9, 0.9])
    return values
