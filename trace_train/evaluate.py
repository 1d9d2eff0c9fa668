"""Score a checkpoint on a held-out split: detect, match, measure, and compare with the best constant predictors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trace_data.errors import ConfigError, OutputError
from trace_data.output import writable_folder
from trace_data.progress import SILENT, Progress
from trace_data.schema.clip import GENDERS, ClipRef
from trace_data.shards.index import check_index
from trace_data.shards.reader import ShardReader
from trace_data.shards.store import Store, as_store
from trace_train import metrics
from trace_train.annotated import Annotated, annotated
from trace_train.body_layer import BodyLayer
from trace_train.build import body_layers, build_network
from trace_train.checkpoint import Checkpoint, open_checkpoint
from trace_train.constant import ConstantPredictor
from trace_train.decode import Detections, detect
from trace_train.network.model import TraceNetwork
from trace_train.streaming.batch import Batch
from trace_train.streaming.stream import BatchPlan, load_clip, read_ahead

MODEL = "model"
MISS_MM = 150.0
"""Error that a missed person counts in the penalised MPJPE (evaluation.md 1.3)."""
FRAMES_AT_ONCE = 16
FRAMES_AHEAD = 4096
"""Coming frames whose shards are fetched, where shards have to be fetched: about two of them."""

MEASURES = (
    ("mpjpe", "MPJPE", "mm", 1, 1.0),
    ("pa_mpjpe", "PA-MPJPE", "mm", 1, 1.0),
    ("pve", "PVE", "mm", 1, 1.0),
    ("error_2d", "2D error", "px", 1, 1.0),
    ("recall", "detection recall", "%", 1, 100.0),
    ("precision", "detection precision", "%", 1, 100.0),
    ("mpjpe_with_misses", "MPJPE, misses at 150 mm", "mm", 1, 1.0),
)
"""Field of `Scores`, its name, unit, digits and factor, in the order in which people look for them."""

PROTOCOL = (
    "Whole frames, letter-boxed; people are the network's own detections (score > {threshold}), no boxes given. "
    "Predictions and annotations are matched per frame by optimal assignment on the 14 projected joints, box IoU >= "
    "0.05. Joints: the 14 LSP joints of the H36M regressor on both meshes (annotation: gendered body; prediction: "
    "neutral body). MPJPE and PVE after removing the hip midpoint, PA-MPJPE after the best similarity per person; "
    "means over all matched people of all frames (micro). 2D error: mean distance of the 14 projected joints in px of "
    "the original frame. Constant predictors are fitted on the training split and scored on the same matched people."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Errors of one predictor; None where the measure does not apply to it."""

    mpjpe: float | None
    """mm."""
    pa_mpjpe: float | None
    """mm."""
    pve: float | None
    """mm."""
    error_2d: float | None
    """px of the original frame."""
    recall: float | None
    precision: float | None
    mpjpe_with_misses: float | None
    """mm, each missed person counting 150."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalReport:
    """The result of an evaluation and all that is needed to repeat it."""

    checkpoint: str
    step: int
    split: str
    synthetic: bool
    sequences: int
    frames: int
    people: int
    """Annotated person-frames."""
    matched: int
    """Person-frames a detection was matched to."""
    rows: Mapping[str, Scores]
    """`model`, `mean pose` and `mean pose in the camera`."""
    protocol: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def evaluate(
    path: Path,
    *,
    shards: Path | str | Store,
    packs: Path,
    split: str = "test",
    every: int = 1,
    threshold: float = 0.2,
    progress: Progress = SILENT,
) -> EvalReport:
    """Score a run or checkpoint on every `every`-th frame of a split.

    The result is also written beside the run's checkpoints. Raises CheckpointError, ShardError, ConfigError.
    """
    checkpoint = open_checkpoint(path)
    network, layers, device = load(checkpoint, packs)
    store = as_store(shards)
    check_index(store)
    reader = ShardReader(store)
    refs = frames_of(reader, split, every)
    result = checkpoint.folder.parent.parent / f"evaluation-{split}-{checkpoint.step:08d}.json"
    writable_folder(result.parent)  # found out now rather than after the work
    constant = ConstantPredictor.fit(reader, layers)
    tally = _Tally(constant)
    progress.begin(f"evaluate {split}", len(refs), "frames")
    with torch.inference_mode():
        for batch in _batches(reader, refs, checkpoint):
            batch = batch.to(device)
            truth = annotated(batch, layers, vertices=True)
            found = detect(network, network(batch.images[:, 0]), layers["neutral"], threshold=threshold, vertices=True)
            tally.add(batch, truth, found)
            progress.advance(len(batch.refs))
    progress.end()
    report = EvalReport(
        checkpoint=str(checkpoint.folder),
        step=checkpoint.step,
        split=split,
        synthetic=reader.synthetic,
        sequences=len({ref.sequence for ref in refs}),
        frames=len(refs),
        people=tally.people,
        matched=tally.matched,
        rows=tally.rows(),
        protocol=PROTOCOL.format(threshold=threshold),
    )
    _write(result, report.to_json())
    return report


def _write(file: Path, values: Mapping[str, Any]) -> None:
    partial = file.with_suffix(".partial")
    try:
        partial.write_text(json.dumps(values, indent=1, allow_nan=False), encoding="utf-8")
        partial.replace(file)
    except OSError as error:
        raise OutputError(f"the result cannot be written: {error.strerror}", where=file) from error


def load(checkpoint: Checkpoint, packs: Path) -> tuple[TraceNetwork, dict[str, BodyLayer], torch.device]:
    """The network of a checkpoint in evaluation mode, and the body layers of all genders, on their device."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = build_network(checkpoint.config.network)
    checkpoint.load_into(network)
    layers = {name: layer.to(device) for name, layer in body_layers(packs, GENDERS).items()}
    return network.to(device).eval(), layers, device


def frames_of(reader: ShardReader, split: str, every: int) -> list[ClipRef]:
    """Every `every`-th frame of every sequence of a split, as clips of one frame."""
    refs = [
        ClipRef(sequence=row, start=start, stride=1, length=1)
        for row, entry in enumerate(reader.index.sequences)
        if entry.split == split
        for start in range(0, entry.frames, every)
    ]
    if not refs:
        raise ConfigError(
            f"these shards have no split {split!r}, they have {', '.join(reader.index.splits)}",
            where=reader.store.where,
        )
    return refs


def _batches(reader: ShardReader, refs: Sequence[ClipRef], checkpoint: Checkpoint) -> Iterator[Batch]:
    size, data = checkpoint.config.network.input_size, checkpoint.config.data
    # frames of one batch must share their size only after letter-boxing, so any mix will do

    def plan(begin: int) -> BatchPlan:
        reader.prefetch(refs[begin : begin + FRAMES_AHEAD])
        loaders = [partial(load_clip, reader, ref, size) for ref in refs[begin : begin + FRAMES_AT_ONCE]]
        return BatchPlan(loaders=loaders, frames=1, size=size)

    yield from read_ahead(map(plan, range(0, len(refs), FRAMES_AT_ONCE)), data)


class _Tally:
    """Adds up what the batches show, person by person."""

    def __init__(self, constant: ConstantPredictor) -> None:
        self.constant = constant
        self.people = self.matched = self.false_alarms = 0
        self.errors: dict[str, dict[str, list[Tensor]]] = {
            name: {key: [] for key in ("mpjpe", "pa_mpjpe", "pve", "error_2d")} for name in (MODEL, *constant.names)
        }

    def add(self, batch: Batch, truth: Annotated, found: Detections) -> None:
        """Match one batch of single frames and take in the errors."""
        size = batch.images.shape[2]
        found2d = found.joints2d_h36m[:, :14]
        known = batch.masks["everyone_annotated"].flatten()
        for frame in range(len(batch.refs)):
            at = (found.frame == frame).nonzero()[:, 0]
            of = (truth.frame == frame).nonzero()[:, 0]
            pairs = metrics.match(found2d[at].cpu(), truth.joints2d[of].cpu())
            self.people += len(of)
            self.matched += len(pairs)
            self.false_alarms += (len(at) - len(pairs)) if bool(known[frame]) else 0
            if pairs:
                px = size / 2 / float(batch.crop_from_frame[frame, 0, 0, 0])
                p, t = at[[i for i, _ in pairs]], of[[j for _, j in pairs]]
                self._take(found, found2d, p, truth, t, px)

    def _take(self, found: Detections, found2d: Tensor, p: Tensor, truth: Annotated, t: Tensor, px: float) -> None:
        joints, image = truth.joints[t], truth.joints2d[t]
        assert found.body.vertices is not None and truth.vertices is not None
        model = self.errors[MODEL]
        model["pve"].append(metrics.pve(found.body.vertices[p], truth.vertices[t]))
        predictions = {MODEL: (found.body.joints_h36m[p, :14], found2d[p])} | self.constant.predict(len(t))
        for name, (predicted, predicted2d) in predictions.items():
            errors = self.errors[name]
            errors["mpjpe"].append(metrics.mpjpe(predicted.to(joints), joints))
            errors["pa_mpjpe"].append(metrics.pa_mpjpe(predicted.to(joints), joints))
            errors["error_2d"].append((predicted2d.to(image) - image).norm(dim=-1).mean(-1) * px)

    def rows(self) -> dict[str, Scores]:
        """Means over the matched people; None when nobody was matched."""
        missed = self.people - self.matched
        rows = {}
        for name, errors in self.errors.items():
            mean = {k: float(torch.cat(v).double().mean()) if v else None for k, v in errors.items()}
            mm = {k: None if v is None else 1000 * v for k, v in mean.items()}
            ours = name == MODEL and self.people > 0
            rows[name] = Scores(
                mpjpe=mm["mpjpe"],
                pa_mpjpe=mm["pa_mpjpe"],
                pve=mm["pve"],
                error_2d=mean["error_2d"],
                recall=self.matched / self.people if ours else None,
                precision=self.matched / max(1, self.matched + self.false_alarms) if ours else None,
                mpjpe_with_misses=(
                    ((mm["mpjpe"] or 0.0) * self.matched + MISS_MM * missed) / self.people if ours else None
                ),
            )
        return rows
