"""Which commands can run, and what the others need."""

from __future__ import annotations

from collections.abc import Iterable

from trace_train.doctor.findings import DoctorFinding

NEEDS: dict[str, tuple[str, ...]] = {
    "quickstart": (),
    "make-sample": (),
    "verify-datasets": ("datasets",),
    "build-shards": ("datasets", "packs"),
    "verify-shards": ("shards",),
    "preview": ("shards",),
    "train --config debug": ("shards", "packs"),
    "train": ("shards", "packs", "weights", "GPU"),
    "evaluate": ("shards", "packs", "runs"),
    "export-weights": ("weights",),
}
"""Requirements of each command by names of findings, in the order of getting them. `GPU` matches any number of GPUs."""


def commands(findings: Iterable[DoctorFinding]) -> list[DoctorFinding]:
    """For each command whether it can run, or what is missing and how to get it."""
    known = {("GPU" if item.name.startswith("GPU") else item.name): item for item in findings}
    out = []
    for name, needs in NEEDS.items():
        missing = [known[need] for need in needs if known[need].state != "ok"]
        out.append(
            DoctorFinding(
                group="command",
                name=f"trace {name}",
                state="absent" if missing else "ok",
                found=f"needs {', '.join(item.name for item in missing)}" if missing else "ready",
                hint=missing[0].hint if missing else "",
            )
        )
    return out
