"""One wrong prediction of a synthetic walk under every variant of a protocol: the table of docs/protocols.md."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from example_result import example_result

from trace_data.results.check import LAYOUTS
from trace_data.results.result import Result
from trace_data.results.world_placement import rigid_inverse
from trace_data.schema.body import GENDERS
from trace_train.build import body_layers
from trace_train.evaluation.measures import MEASURES
from trace_train.evaluation.sums import MODEL
from trace_train.evaluation.video_score import score_result
from trace_train.evaluation.video_truth import VideoTruth, truth_of_result
from trace_train.protocols.loading import load_protocol
from trace_train.protocols.protocol import DataRules

FRAMES = 250
SHOWN = {
    "EMDB-2": (
        ("emdb2-wham", "emdb2-gvhmr", "emdb2-tram", "trace-5d"),
        ("wa_mpjpe", "w_mpjpe", "rte", "jitter", "foot_sliding"),
    ),
    "EMDB-1": (("emdb1", "emdb1-gvhmr", "emdb1-tram"), ("mpjpe", "pa_mpjpe", "pve", "acceleration")),
    "3DPW": (
        ("3dpw-14", "3dpw-14-gvhmr", "3dpw-14-pelvis", "trace-published", "trace-5d"),
        ("mpjpe", "pa_mpjpe", "pve", "acceleration"),
    ),
}  # fmt: skip


def truth() -> VideoTruth:
    """Two people, a woman and a man, before a moving camera."""
    exact = truth_of_result(example_result(people=2, frames=FRAMES), "walk")
    codes = np.array([GENDERS.index("female"), GENDERS.index("male")])
    return replace(exact, gender=codes[(exact.person - 1) % 2])


def prediction() -> Result:
    """Neutral bodies of the same numbers, with shaking limbs; the world drifts and is a tenth too large, and one person
    is not found for a second."""
    exact = example_result(people=2, frames=FRAMES)
    draw = np.random.default_rng(11)
    pose = exact.pose.copy()
    pose[:, 1:22] += draw.normal(0, 0.03, pose[:, 1:22].shape).astype(np.float32)
    world_from_camera = rigid_inverse(exact.camera_from_world)
    world_from_camera[:, :3, 3] *= 1.1
    world_from_camera[:, :3, 3] += np.cumsum(draw.normal(0, 0.003, (FRAMES, 3)), axis=0)
    kept = np.flatnonzero(~((exact.row_person == 0) & (exact.row_frame >= 120) & (exact.row_frame < 150)))
    rows = {name: getattr(exact, name)[kept] for name, layout in LAYOUTS.items() if "N" in layout.shape}
    return replace(exact, **rows | {"pose": pose[kept]}, camera_from_world=rigid_inverse(world_from_camera))


def table(packs: Path) -> list[str]:
    """Rows of the table in Markdown."""
    layers, right, wrong = body_layers(packs, GENDERS), truth(), prediction()
    found = {}
    for name in dict.fromkeys(name for names, _ in SHOWN.values() for name in names):
        rules = load_protocol(name).model_copy(update={"data": DataRules()})
        with torch.no_grad():
            found[name] = score_result(wrong, right, layers, protocol=rules, name="walk").rows[MODEL]
    by_key = {measure.key: measure for measure in MEASURES}
    lines = []
    for title, (names, keys) in SHOWN.items():
        lines += ["", f"| {title} | " + " | ".join(f"{by_key[k].name}, {by_key[k].unit}" for k in keys) + " |"]
        lines += ["|---" * (len(keys) + 1) + "|"]
        for name in names:
            values = [(by_key[key], getattr(found[name], key)) for key in keys]
            shown = [
                "–" if value is None else f"{m.factor * value:.{2 if m.key == 'rte' else 1}f}" for m, value in values
            ]
            lines.append(f"| `{name}` | " + " | ".join(shown) + " |")
    return lines[1:]
