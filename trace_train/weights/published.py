"""The published weights: names of files and tensors, and the use of each tensor.

`checkpoint_keys.tsv.gz` lists name, shape and type of every tensor of the released checkpoints
(docs/reference/network.md#released-weights); it holds no values.
"""

from __future__ import annotations

import csv
import functools
import gzip
from collections.abc import Mapping, Set
from dataclasses import dataclass
from importlib import resources
from typing import Literal

import torch

from trace_train.build import build_network
from trace_train.config import NetworkConfig
from trace_train.network.raft import Raft

Shape = tuple[int, ...]
PREFIX = "module."
"""Prefix that DataParallel adds to every name."""

TensorUse = Literal["mapped", "unused", "double", "body model", "loss", "unexpected"]
FATES: dict[TensorUse, str] = {
    "mapped": "mapped",
    "unused": "kept, TRACE does not use it",
    "double": "kept, the same under another name",
    "body model": "kept, bodies come from the packs",
    "loss": "kept, of the published loss",
    "unexpected": "unexpected, kept",
}
"""Description of each use of a tensor. Nothing is dropped: tensors that our network lacks stay in the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPart:
    """One of the published files."""

    name: str
    """Short name and option: `image` for `--image`."""
    file: str
    """Published file name."""
    also: tuple[str, ...] = ()
    """Other published file names."""
    what: str
    """Description."""
    branch: str
    """Its branch in the table."""
    extras: tuple[str, ...] = ()
    """Further branches that the file may contain."""
    parallel: bool = False
    """Whether the published names have DataParallel's prefix."""


PARTS = {
    part.name: part
    for part in (
        ModelPart(
            name="image",
            file="trace_image_backbone.pkl",
            what="TRACE's image model",
            branch="image",
            extras=("image_smpl",),
            parallel=True,
        ),
        ModelPart(
            name="head",
            file="trace_head.pkl",
            what="TRACE's temporal head",
            branch="temporal_published",
            extras=("temporal_published_smpl", "temporal_loss"),
        ),
        ModelPart(
            name="flow",
            file="raft-things.pth",
            also=("trace_motion_backbone.pth",),
            what="RAFT",
            branch="raft",
            parallel=True,
        ),
    )
}
"""The published files by short name."""


@functools.cache
def table(branch: str) -> Mapping[str, Shape]:
    """Names, without DataParallel's prefix, and shapes of one branch of the table, in the table's order."""
    packed = resources.files("trace_train.weights").joinpath("checkpoint_keys.tsv.gz").read_bytes()
    rows = csv.DictReader(gzip.decompress(packed).decode("utf-8").splitlines(), delimiter="\t")
    return {
        row["name"].removeprefix(PREFIX): () if row["shape"] == "scalar" else tuple(map(int, row["shape"].split("x")))
        for row in rows
        if row["branch"] == branch
    }


def known(part: ModelPart) -> dict[str, Shape]:
    """Names and shapes of all tensors that the part's file may contain."""
    return {name: shape for branch in (part.branch, *part.extras) for name, shape in table(branch).items()}


def needed(part: ModelPart) -> set[str]:
    """Names of the tensors that the part requires."""
    return {name for name in table(part.branch) if name in ours(part) and not dispensable(name)}


def dispensable(name: str) -> bool:
    """Whether a tensor of our network is unused in computation."""
    return name.endswith("num_batches_tracked") or name.split(".")[0] in ("coordmap_3d", "position_embeddings")


@functools.cache
def ours(part: ModelPart) -> Set[str]:
    """Names of the part that exist in our network."""
    with torch.device("meta"):
        if part.name == "flow":
            return frozenset(Raft().state_dict())
        names = build_network(NetworkConfig()).state_dict()
    return frozenset(name for name in names if name.startswith("backbone.") == (part.name == "image"))


def fate(part: ModelPart, name: str) -> TensorUse:
    """The use of a tensor."""
    if name in ours(part):
        return "mapped"
    if name not in known(part):
        return "unexpected"
    if name.startswith("_result_parser."):
        return "body model"
    if name.startswith("_calc_loss."):
        return "loss"
    # RAFT stores one normalisation under two names; the image file contains BEV's heads
    return "double" if part.name == "flow" else "unused"
