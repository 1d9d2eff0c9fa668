"""Which commands can be run as things stand, and what the others wait for."""

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
"""Command -> what it needs, by the names of findings, what is got first in front. A GPU is one of any number."""


def commands(findings: Iterable[DoctorFinding]) -> list[DoctorFinding]:
    """For each command whether all is there, else what is missing and how to get it."""
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
