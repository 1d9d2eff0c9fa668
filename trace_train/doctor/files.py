"""Lists what the configured folders contain, without verifying it (see `trace verify-…`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from trace_data.assets.verify import PURPOSES
from trace_data.errors import TraceError
from trace_data.shards.index import load_index
from trace_data.shards.storage.url import shown
from trace_train.doctor.findings import DoctorFinding
from trace_train.weights.checkpoint import finished
from trace_train.weights.folder import DESCRIPTION, open_weights

Places = Mapping[str, Path | str | None]
"""Settings with their folder or URL, or None."""


def data(places: Places) -> list[DoctorFinding]:
    """Body models, weights, datasets, shards, runs."""
    return [_packs(places["packs"]), _weights(places["weights"]), _datasets(places), _shards(places), _runs(places)]


def _packs(folder: Path | str | None) -> DoctorFinding:
    meaning = "everything that has to do with bodies"
    there = [name for name in PURPOSES if isinstance(folder, Path) and (folder / name).is_file()]
    if "SMPL_NEUTRAL.pth" not in there:
        others = f", only {', '.join(there)}" if there else ""
        return _absent("packs", f"no SMPL_NEUTRAL.pth{others}", meaning, "trace prepare-smpl  (trace docs body-models)")
    missing = sorted({PURPOSES[name] for name in PURPOSES if name not in there} - {"training"})
    return _there(
        "packs",
        f"{len(there)} of {len(PURPOSES)}" + (f"; none for {', '.join(missing)}" * bool(missing)),
        meaning,
    )


def _weights(folder: Path | str | None) -> DoctorFinding:
    meaning = "starting from the released network; flow by RAFT"
    if not isinstance(folder, Path) or not (folder / DESCRIPTION).is_file():
        return _absent("weights", "none imported", meaning, "trace import-weights  (trace docs weights)")
    try:
        weights = open_weights(folder)
    except TraceError as error:
        return _broken("weights", error, meaning)
    missing = [part for part in ("image", "head", "flow") if part not in weights.parts]
    return _there(
        "weights",
        ", ".join(weights.parts) + (f"; no {', '.join(missing)}" * bool(missing)),
        meaning,
    )


def _datasets(places: Places) -> DoctorFinding:
    meaning, folder = "building shards", places["root"]
    own = [key for key, place in places.items() if key.startswith("root_") and place is not None]
    if not isinstance(folder, Path) and own:
        return _there("datasets", f"in folders of their own: {', '.join(own)}", meaning)
    if not isinstance(folder, Path):
        return _absent("datasets", "no folder is set", meaning, "--root DATA, or TRACE_ROOT")
    if not folder.is_dir():
        return _absent("datasets", f"{folder} is not there", meaning, "trace config  shows where it is set")
    count = sum(item.is_dir() for item in folder.iterdir())
    return _there("datasets", f"{count} folders in {folder}", meaning)


def _shards(places: Places) -> DoctorFinding:
    meaning, where = "training and evaluation", places["shards"]
    if isinstance(where, str):
        return _there("shards", f"{shown(where)} (a URL, not looked at)", meaning)
    if where is None or not (where / "index.json").is_file():
        return _absent("shards", "none built", meaning, "trace build-shards  (trace docs build-shards)")
    try:
        index = load_index(where)
    except TraceError as error:
        return _broken("shards", error, meaning)
    frames = sum(sequence.frames for sequence in index.sequences)
    names = sorted({sequence.dataset for sequence in index.sequences})
    synthetic = "  (synthetic)" if index.synthetic else ""
    return _there("shards", f"{len(index.shards):,} shards, {frames:,} frames: {', '.join(names)}{synthetic}", meaning)


def _runs(places: Places) -> DoctorFinding:
    meaning, folder = "evaluation, going on with a run", places["runs"]
    runs = (
        sorted(item for item in folder.iterdir() if finished(item))
        if isinstance(folder, Path) and folder.is_dir()
        else []
    )
    if not runs:
        return _absent("runs", "none yet", meaning, "trace train")
    return _there("runs", f"{len(runs):,}, the last {max(runs, key=lambda run: run.stat().st_mtime).name}", meaning)


def _there(name: str, found: str, meaning: str) -> DoctorFinding:
    return DoctorFinding(group="data", name=name, state="ok", found=found, meaning=meaning)


def _absent(name: str, found: str, meaning: str, hint: str) -> DoctorFinding:
    return DoctorFinding(group="data", name=name, state="absent", found=found, meaning=meaning, hint=hint)


def _broken(name: str, error: TraceError, meaning: str) -> DoctorFinding:
    hint = error.hint or f"trace verify-{name}" * (name == "shards")
    return DoctorFinding(group="data", name=name, state="problem", found=error.message, meaning=meaning, hint=hint)
