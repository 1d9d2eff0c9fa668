"""Bodies fitted to some frames only (NeuralAnnot's of Human3.6M and MPI-INF-3DHP): the frames between them stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_human36m
import tiny_mpi

from trace_data.adapters import find_sequences, read_record
from trace_data.builder.build import build_shards
from trace_data.schema.clip import ClipAnnotations, ClipRef
from trace_data.shards.checks.shards import verify_shards
from trace_data.shards.reader import ShardReader
from trace_data.shards.sampling.sampler import clip_table

OF_THE_BODY = ("root_rotation", "body_pose", "shape", "translation", "world")
FITTED = [0, 3]
"""Frames that keep their fits."""


def human36m(root: Path) -> str:
    folder = tiny_human36m.write(root, "repackaged")

    def thin(bodies: Any) -> None:
        for actions in bodies.values():
            for frames in actions.values():
                for frame in set(frames) - set(map(str, FITTED)):
                    del frames[frame]

    for file in folder.glob("annotations/*_SMPL_NeuralAnnot.json"):
        tiny_human36m.change_json(file, thin)
    return "h36m"


def mpi(root: Path) -> str:
    folder = tiny_mpi.official(root, recordings=((1, 1),))
    tiny_mpi.fits(folder / "MPI-INF-3DHP_SMPL_NeuralAnnot.json", FITTED)
    return "mpi-inf-3dhp"


def mpi_packed(root: Path) -> str:
    tiny_mpi.fits(tiny_mpi.packed(root) / "MPI-INF-3DHP_SMPL_NeuralAnnot.json", FITTED)
    return "mpi-inf-3dhp"


@pytest.mark.parametrize("write", [human36m, mpi, mpi_packed])
def test_every_frame_with_joints_comes_through_with_its_masks(write: Any, packs: Path, tmp_path: Path) -> None:
    name = write(tmp_path / "data")
    out = tmp_path / "shards"
    index = build_shards([name], tmp_path / "data", out, packs=packs, splits=["train"]).index
    assert not index.bad and verify_shards(out).ok
    records = {ref.key: read_record(ref) for ref in find_sequences(name, tmp_path / "data", "train")}
    assert len(records) == len(index.sequences) > 0
    with_fits = 0
    for number, entry in enumerate(index.sequences):
        record, clip = records[entry.key], whole(out, number, entry.frames)
        person = record.people[0]
        assert entry.frames == len(record.frames) and clip.present.all() and clip.masks["joints3d"].all()
        assert clip.masks["center"].all() and entry.usable == (((0, entry.frames),),)
        assert person.joints3d is not None
        joints, fitted = person.joints3d.to_44(), person.body_valid
        given = joints[..., 3] > 0
        np.testing.assert_allclose(clip.kp3d[0][given], joints[given], atol=1e-6)
        assert not clip.kp3d[0][~given & ~fitted[:, None]].any(), "where nothing is known nothing is written"
        for mask in OF_THE_BODY:
            np.testing.assert_array_equal(clip.masks[mask][0], fitted, err_msg=mask)
        assert (clip.pose[0].any(axis=(1, 2)) == fitted).all() and (clip.betas_neutral[0].any(axis=1) == fitted).all()
        with_fits += int(fitted.any() and not fitted.all())
        if fitted.any():
            assert np.flatnonzero(fitted).tolist() == FITTED
    assert with_fits > 0
    longest = min(entry.frames for entry in index.sequences)
    assert len(clip_table(index, length=longest, strides=[1], split="train")) >= len(index.sequences)


def whole(folder: Path, number: int, frames: int) -> ClipAnnotations:
    """All frames of a sequence of shards."""
    return ShardReader(folder).annotations(ClipRef(sequence=number, start=0, stride=1, length=frames))
