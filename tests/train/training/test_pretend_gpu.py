"""The whole training step and the whole prediction on a GPU, as far as that can be told without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pretend_gpu import run_script

pytestmark = pytest.mark.slow  # a library in C++ is compiled first

SCRIPT = Path(__file__).resolve().parents[2] / "support" / "on_pretend_gpu.py"
STEP = {"update.py:_read tolist": 1}
"""A training step waits once: for its losses, counts and the norm of its gradient."""
FP16 = {**STEP, "update.py:__call__ _local_scalar_dense": 1}
"""With fp16 the scaler also asks whether a gradient overflowed, unless its norm told."""
PEOPLE = {
    "detections.py:best_score _local_scalar_dense": 1,
    "detections.py:centers nonzero": 1,
    "detections.py:_without_duplicates tolist": 1,
    "detections.py:_without_duplicates equal": 2,
    "detections.py:detect nonzero": 1,
    "stream.py:_arrays copy to the CPU": 1,
}
"""A chunk of a video: how many people there are, which are duplicates (a question a round), and what they do."""
DIS = {"flow.py:__call__ copy from pageable memory": 1, "flow.py:__call__ copy to the CPU": 1}
"""Flow that is computed on the CPU; RAFT needs neither."""


@pytest.fixture(scope="module")
def found(shards: Path, packs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the script prints."""
    folder = tmp_path_factory.mktemp("pretend")
    return run_script(SCRIPT, [shards, packs, folder / "run"], folder)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_step_waits_for_the_gpu_once(precision: str, found: dict[str, Any]) -> None:
    for stage in ("stage 0", "stage 1"):
        waits = found["train"][precision]["waits"][stage]
        assert waits == STEP or (precision == "fp16" and waits == FP16)


def test_steps_are_those_of_the_cpu(found: dict[str, Any]) -> None:
    on_cpu = found["train"]["cpu"]
    assert found["train"]["fp32"]["losses"] == pytest.approx(on_cpu["losses"], rel=1e-3)
    assert found["train"]["bf16"]["losses"][0] == pytest.approx(on_cpu["losses"][0], rel=0.1)
    assert on_cpu["waits"] == {"stage 0": {}, "stage 1": {}}


def test_a_whole_run_ends(found: dict[str, Any]) -> None:
    # with micro-batches, evaluation, pictures, and its checkpoint
    assert {"checkpoints", "metrics.jsonl", "pictures"} <= {*found["files"]}
    assert any(name.startswith("evaluation-val-") for name in found["files"])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("frames", ["waits", "chunk"], ids=["live", "chunk"])
def test_a_prediction_waits_as_often_for_many_frames_as_for_one(
    precision: str, frames: str, found: dict[str, Any]
) -> None:
    assert found["predict"][precision][frames] == {**PEOPLE, **DIS}


def test_people_are_those_of_the_cpu(found: dict[str, Any]) -> None:
    on_cpu, on_gpu = found["predict"]["cpu"], found["predict"]["fp32"]
    assert all(on_cpu["people"]) and on_gpu["people"] == on_cpu["people"]
    assert on_gpu["joints"] == pytest.approx(on_cpu["joints"], rel=1e-4)


def test_the_device_refuses_to_mix_and_counts(found: dict[str, Any]) -> None:
    assert found["itself"] == {
        "refused": ["matrix product", "assignment", "numpy"],
        "waits": {
            "elsewhere _local_scalar_dense": 1,
            "elsewhere copy from pageable memory": 1,
            "elsewhere copy to the CPU": 1,
            "elsewhere index": 1,
            "elsewhere nonzero": 1,
        },
        "autocast": "torch.bfloat16",
    }
