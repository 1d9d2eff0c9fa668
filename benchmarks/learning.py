"""What each part of the small network and of its recipe gains: trains variants of preset debug and scores them.

    python benchmarks/learning.py train --shards DIR --packs DIR --out DIR [--variant preset distance …] [--steps 800]
                                        [--start RUN|CHECKPOINT]
    python benchmarks/learning.py table --out DIR        the table of all finished variants, for docs/learning.md
    python benchmarks/learning.py curve RUN…             scores of runs against clips seen and CPU time
    python benchmarks/learning.py parts RUN              scores with the truth in place of single parts of the result

A variant is preset debug with other settings, below. All see the same clips in the same order, are scored on people and
sequences that none has seen, and take one thread, so that several may run side by side. Runs resume. Frames of moving
and of static cameras are also scored apart, as means over sequences.

With `--start`, all begin with the weights of a network trained on single frames and train only the stage of clips:
what the parts that see motion gain is then not hidden by how well bodies are learnt.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from trace_data.schema.body import GENDERS
from trace_data.shards.reader import ShardReader
from trace_data.shards.storage.store import as_store
from trace_train.body.layer import BodyLayer
from trace_train.build import body_layers
from trace_train.config import load_config
from trace_train.evaluate import MEASURES, MODEL, Scores, evaluate, score
from trace_train.evaluation import accumulator
from trace_train.evaluation.bodies import Values, compare
from trace_train.evaluation.ground_truth import GroundTruth
from trace_train.inference.detections import Detections
from trace_train.inference.source import open_source
from trace_train.protocols.protocol import BodyRules
from trace_train.streaming.batch import Batch
from trace_train.train import train
from trace_train.training.run_log import read_metrics
from trace_train.weights.checkpoint import describe_run

DISTANCE = (
    *("supervision.joints_huber=0", "supervision.pose_huber=0"),
    *("loss.joints3d=300", "loss.body_pose=240", "loss.pa_joints3d=520"),
)
STILL = (
    "stages=[{name: frames, share: 0.55, clips: 32, frames: 1},"
    " {name: clips, share: 0.45, clips: 8, frames: 4, camera_probability: 0}]"
)
VARIANTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "preset": ("preset debug", ()),
    "distance": ("errors of pose as distances, as published", DISTANCE),
    "narrow": ("16 channels, two blocks a branch", ("network.width=16", "network.stage_blocks=2")),
    "small": ("pictures of 64 px", ("network.input_size=64",)),
    "strong colours": ("strong changes of colour", ("data.color_jitter=0.3", "data.color_jitter_probability=0.8")),
    "stored flow": ("flow read from the shards (`trace add-flow DIR --flow dis`)", ("network.flow=stored",)),
    "no flow": ("without optical flow", ("network.flow=none",)),
    "no time": ("single frames: no memory, motion or world heads", ("network.temporal=false", "network.flow=none")),
    "no world": (
        "world heads not trained",
        tuple(
            f"loss.{name}=0"
            for name in (
                *("motion_offsets", "world_rotation", "world_root", "world_translation", "world_joints2d"),
                *("world_velocity", "foot_velocity", "foot_contact"),
            )
        ),
    ),
    "no feet": ("without the terms of feet", ("loss.foot_velocity=0", "loss.foot_contact=0")),
    "no synthetic camera": ("static sequences stay static", (STILL,)),
}
"""Name of a variant: its description and its settings."""
SHOWN = (
    "mpjpe",
    "pa_mpjpe",
    "recall",
    "w_mpjpe",
    "wa_mpjpe",
    "rte",
    "root_orientation",
    "acceleration",
    "foot_sliding",
)
ON_THE_WAY = SHOWN[:6]
WORLD = ("mpjpe", "pa_mpjpe", "w_mpjpe", "wa_mpjpe", "root_orientation")
MEASURE = {measure.key: measure for measure in MEASURES}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    runs = actions.add_parser("train")
    runs.add_argument("--shards", type=Path, required=True)
    runs.add_argument("--packs", type=Path, required=True)
    runs.add_argument("--out", type=Path, required=True)
    runs.add_argument("--variant", nargs="*", choices=VARIANTS, default=[v for v in VARIANTS if v != "stored flow"])
    runs.add_argument("--steps", type=int, default=800)
    runs.add_argument("--start", type=Path, help="weights to begin with; only the stage of clips is trained")
    runs.add_argument("--one-in", type=int, default=1, help="score one in N sequences of the split")
    runs.add_argument("--split", default="test", help="val has static cameras too")
    tables = actions.add_parser("table")
    tables.add_argument("--out", type=Path, required=True)
    curves = actions.add_parser("curve")
    curves.add_argument("runs", nargs="+", type=Path)
    parts = actions.add_parser("parts")
    parts.add_argument("run", type=Path)
    parts.add_argument("--one-in", type=int, default=1, help="score one in N sequences of the split test")
    options = parser.parse_args()
    if options.action == "train":
        torch.set_num_threads(1)
        for name in options.variant:
            run_variant(name, options)
    elif options.action == "table":
        print(table(options.out))
    elif options.action == "parts":
        print(parts_table(options.run, options.one_in))
    else:
        for run in options.runs:
            print(curve(run))


def record(out: Path, name: str) -> Path:
    """The file with the scores of a variant; its run is the folder of the same name."""
    return out / f"{name.replace(' ', '-')}.json"


def run_variant(name: str, options: argparse.Namespace) -> None:
    """Train and score one variant, unless that is done. CPU time is that of the last call, if it was resumed."""
    file = record(options.out, name)
    if file.exists():
        return
    run = file.with_suffix("")
    described, settings = VARIANTS[name]
    config = load_config("debug", [f"steps={options.steps}", *settings])
    if options.start is not None:
        config = config.model_copy(
            update={
                "init": config.init.model_copy(update={"weights": options.start.resolve()}),
                "stages": (config.stages[-1].model_copy(update={"share": 1.0}),),
            }
        )
    begun = time.process_time()
    train(config, shards=options.shards, packs=options.packs, run=run, resume=run.exists())
    cpu = time.process_time() - begun
    report = evaluate(run, shards=options.shards, packs=options.packs, split=options.split, every=options.one_in)
    moving = {
        (entry.dataset, entry.name): entry.moving for entry in ShardReader(as_store(options.shards)).index.sequences
    }
    facts = {
        "variant": name,
        "described": described,
        "steps": options.steps,
        "start": options.start and str(options.start),
        "cpu_s": cpu,
        "rows": {row: chosen(scores) for row, scores in report.rows.items()},
        "cameras": {
            kind: means([s.scores for s in report.sequence_scores if moving[s.dataset, s.name] is moves])
            for kind, moves in (("moving", True), ("static", False))
        },
    }
    file.write_text(json.dumps(facts, indent=1))
    print(json.dumps(facts), flush=True)


def chosen(scores: Scores) -> dict[str, float | None]:
    return {key: getattr(scores, key) for key in SHOWN}


def means(scores: Sequence[Scores]) -> dict[str, float | None]:
    """Means over sequences that have a value."""
    found = {}
    for key in SHOWN:
        values = [value for one in scores if (value := getattr(one, key)) is not None]
        found[key] = sum(values) / len(values) if values else None
    return found


def table(out: Path) -> str:
    """The table of all finished variants, in their order above, and of the baselines."""
    done = [json.loads(file.read_text()) for name in VARIANTS if (file := record(out, name)).exists()]
    rows = [("variant", *headings(SHOWN), "W-MPJPE moving / static", "CPU min")]
    for facts in done:
        cameras = " / ".join(number("w_mpjpe", facts["cameras"][kind]["w_mpjpe"]) for kind in ("moving", "static"))
        rows.append((facts["described"], *cells(facts["rows"][MODEL], SHOWN), cameras, f"{facts['cpu_s'] / 60:.0f}"))
    baselines = done[0]["rows"].items() if done else ()
    rows += [(f"*{name}*", *cells(scores, SHOWN), "", "") for name, scores in baselines if name != MODEL]
    return markdown(rows)


def curve(run: Path) -> str:
    """Scores of a run on the way, against steps, frames seen and minutes of training."""
    rows = [("step", "frames seen", "training, min", *headings(ON_THE_WAY))]
    lines = [line for line in read_metrics(run) if "clips_per_s" in line]
    for file in sorted(run.glob("evaluation-val-*.json")):
        facts: dict[str, Any] = json.loads(file.read_text())
        seen, seconds, before = 0.0, 0.0, 0
        stages = {stage["name"] or str(i): stage for i, stage in enumerate(facts["configuration"]["stages"], 1)}
        for line in lines:
            if line["step"] > facts["step"]:
                break
            stage, steps = stages[line["stage"]], line["step"] - before
            seen += steps * stage["clips"] * stage["frames"]
            seconds += steps * stage["clips"] / line["clips_per_s"]
            before = line["step"]
        scores = cells(facts["rows"][MODEL], ON_THE_WAY)
        rows.append((f"{facts['step']:,}", f"{seen:,.0f}", f"{seconds / 60:.0f}", *scores))
    return markdown(rows)


def parts_table(run: Path, every: int) -> str:
    """Scores of a run on the split test, and the same with the truth in place of what the network says of one part."""
    described = {
        (): "as predicted",
        ("limbs",): "with the true limbs",
        ("heading",): "with the true heading in the camera",
        ("path",): "with the true path and camera",
        ("limbs", "heading"): "with true limbs and heading",
    }
    source, own = open_source(run), describe_run(run)
    reader, layers = ShardReader(as_store(own.shards)), body_layers(own.packs, GENDERS, source.device)
    rows = [("", *headings(WORLD))]
    for exact, words in described.items():
        with patch.object(accumulator, "compare", partial(corrected, exact)):
            report = score(source.network, layers, reader, source.config, split="test", every=every, flow=source.flow)
        rows.append((words, *cells(chosen(report.rows[MODEL]), WORLD)))
    return markdown(rows)


def corrected(
    exact: Sequence[str],
    batch: Batch,
    found: Detections,
    rows: Tensor,
    target: GroundTruth,
    world: tuple[Tensor, Tensor],
    layers: Mapping[str, BodyLayer],
    rules: BodyRules,
) -> Values:
    """What `bodies.compare` gives if the parts in `exact` were predicted without error; shapes stay as they are."""
    rotations = found.rotations.clone()
    if "limbs" in exact:
        rotations[rows, 1:] = target.rotations[:, 1:]
    if "heading" in exact:
        rotations[rows, 0] = target.turn @ target.rotations[:, 0]
    if "path" in exact:
        world = (target.turn.mT, target.hips)
    values = compare(batch, replace(found, rotations=rotations), rows, target, world, layers, rules)
    if "path" in exact:  # its places are already those of the true camera
        values["true_from_assumed"] = torch.eye(3, dtype=torch.float64).expand_as(values["true_from_assumed"])
    return values


def headings(keys: Sequence[str]) -> list[str]:
    return [f"{MEASURE[key].name}, {MEASURE[key].unit}" for key in keys]


def cells(scores: Mapping[str, float | None], keys: Sequence[str]) -> list[str]:
    return [number(key, scores[key]) for key in keys]


def number(key: str, value: float | None) -> str:
    return "–" if value is None else f"{value * MEASURE[key].factor:.{MEASURE[key].digits}f}"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


if __name__ == "__main__":
    main()
