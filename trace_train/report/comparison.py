"""What several runs have in common and where they differ, read from their folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trace_data.errors import ConfigError, quoted
from trace_train.report.folder import RunFolder, read_run
from trace_train.report.settings import flat
from trace_train.report.terms import terms_of

MOST_RUNS = 8
"""Runs on one page: as many as there are colours."""
MEASURED = ("Matching:", "Camera:", "World:")
"""Paragraphs of a protocol that define the measures. The others state the frames, which the basis holds too, and how
the network works."""
ABSENT = "–"
Evaluation = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class LikeScores:
    """Evaluations on the same data with the same protocol."""

    split: str
    basis: str
    """Identifies data and protocol, see `EvalReport.basis`."""
    series: Mapping[str, Sequence[Evaluation]]
    """By the name of the run, sorted by step."""

    @property
    def last(self) -> dict[str, Evaluation]:
        """The latest evaluation of each run."""
        return {name: series[-1] for name, series in self.series.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """What one run lacks that another has."""

    run: str
    what: str
    command: str = ""
    """The command that makes it; empty if there is none."""

    def __str__(self) -> str:
        return f"{self.run}: {self.what}" + (f";  {self.command}" if self.command else "")


def read_runs(paths: Sequence[Path]) -> dict[str, RunFolder]:
    """The runs by name: that of the folder, with as many parents as tell them apart.

    Raises CheckpointError if a folder holds no run; ConfigError for fewer than two runs, too many, or one given twice.
    """
    whole = [path.resolve() for path in paths]
    twice = next((path for path in whole if whole.count(path) > 1), None)
    if twice is not None:
        raise ConfigError("is named twice", where=twice, hint="name each run once")
    if not 2 <= len(whole) <= MOST_RUNS:
        raise ConfigError(
            f"{len(whole)} run{'s' * (len(whole) != 1)} to compare, expected 2 to {MOST_RUNS}",
            hint="trace report RUN  shows a single run",
        )
    runs = [read_run(path) for path in paths]
    parts = next(n for n in range(1, 100) if len({path.parts[-n:] for path in whole}) == len(whole))
    return {"/".join(path.parts[-parts:]): run for path, run in zip(whole, runs)}


def like_scores(runs: Mapping[str, RunFolder]) -> list[LikeScores]:
    """Evaluations that can be compared, those of most runs first. Results that do not say their data are left out."""
    found: dict[tuple[str, ...], dict[str, list[Evaluation]]] = {}
    for name, run in runs.items():
        for split in run.splits:
            for series in run.scored(split):
                whole = next((one for one in reversed(series) if _says_its_data(one)), None)
                if whole is not None:
                    key = (split, str(whole["basis"]), _measured(whole))
                    found.setdefault(key, {})[name] = series
    groups = [LikeScores(split=split, basis=basis, series=own) for (split, basis, _), own in found.items()]
    order = {"test": 0, "val": 1, "train": 2}
    return sorted(groups, key=lambda one: (-len(one.series), order.get(one.split, 3), -_frames(one)))


def _says_its_data(one: Evaluation) -> bool:
    return bool(one.get("shards_sha256") and one.get("sequences_sha256"))


def _measured(one: Evaluation) -> str:
    lines = str(one.get("protocol") or "").splitlines()
    return "\n".join(line for line in lines if line.startswith(MEASURED))


def _frames(group: LikeScores) -> int:
    return max(int(one.get("frames") or 0) for one in group.last.values())


def differing_settings(runs: Mapping[str, RunFolder]) -> dict[str, tuple[str, ...]]:
    """Keys of the configurations whose values differ, with the value of each run."""
    values = [flat(run.settings) for run in runs.values()]
    keys = dict.fromkeys(key for own in values for key in own)
    rows = {key: tuple(str(own.get(key, ABSENT)) for own in values) for key in keys}
    return {key: row for key, row in rows.items() if len(set(row)) > 1}


def missing_parts(runs: Mapping[str, RunFolder], groups: Sequence[LikeScores]) -> list[Missing]:
    """What some of the runs lack: steps, a log, loss terms, scores comparable to those of the others."""
    found = [part for name, run in runs.items() for part in _of_training(name, run, runs)]
    for split in dict.fromkeys(split for run in runs.values() for split in run.splits):
        group = next((one for one in groups if one.split == split), None)
        if group is None:
            found += [_without_data(name, run, split) for name, run in runs.items() if split in run.splits]
        else:
            found += [_not_scored(name, run, group, runs) for name, run in runs.items() if name not in group.series]
    if not any(run.splits for run in runs.values()):
        found += [
            Missing(run=name, what="has no scores", command=f"trace evaluate {quoted(run.path)}")
            for name, run in runs.items()
        ]
    return found


def _of_training(name: str, run: RunFolder, runs: Mapping[str, RunFolder]) -> list[Missing]:
    found = []
    if run.state != "finished":
        more = f"trace train --resume {quoted(run.path)}" if run.state == "interrupted" else ""
        found.append(Missing(run=name, what=f"{run.state} at step {run.step:,} of {run.steps:,}", command=more))
    if not run.lines:
        return [*found, Missing(run=name, what="has no log of its losses")]
    others = [term for other in runs.values() for term in terms_of(other.lines)]
    lacks = [term for term in dict.fromkeys(others) if term not in terms_of(run.lines)]
    return [*found, Missing(run=name, what=f"has no loss term {', '.join(lacks)}")] if lacks else found


def _without_data(name: str, run: RunFolder, split: str) -> Missing:
    return Missing(
        run=name,
        what=f"its scores on {split} do not say on what data they were computed",
        command=f"trace evaluate {quoted(run.path)} --split {split}",
    )


def _not_scored(name: str, run: RunFolder, group: LikeScores, runs: Mapping[str, RunFolder]) -> Missing:
    """The run's lack of scores like those of a group, why its own differ, and the command that computes them."""
    wanted = next(reversed(group.last.values()))
    own = [series[-1] for series in run.scored(group.split)]
    why = f"has no scores on {group.split}"
    if own:
        why = f"its scores on {group.split} cannot be compared with the others': {_difference(own[0], wanted)}"
    settings = wanted.get("settings") or {}
    words = ["trace", "evaluate", quoted(run.path), "--split", quoted(group.split)]
    if (settings.get("every") or 1) != 1:
        words += ["--one-in", f"{settings['every']}"]
    if settings.get("threshold") != (run.settings.get("evaluation") or {}).get("threshold"):
        words += ["--threshold", f"{settings.get('threshold')}"]
    for key in ("shards", "packs"):
        digest = wanted.get(f"{key}_sha256")
        place = next((r.data.get(key) for r in runs.values() if r.data.get(f"{key}_sha256") == digest), None)
        if run.data.get(f"{key}_sha256") != digest and place:
            words += [f"--{key}", quoted(str(place))]
    return Missing(run=name, what=why, command=" ".join(words))


def _difference(own: Evaluation, wanted: Evaluation) -> str:
    """What makes two evaluations of a split unlike, in words."""
    if not _says_its_data(own):
        return "they do not say on what data they were computed"
    a, b = own.get("settings") or {}, wanted.get("settings") or {}
    found = [words for key, words in (("shards_sha256", "other shards"), ("packs_sha256", "other body models"))
             if own.get(key) != wanted.get(key)]  # fmt: skip
    if a.get("every") != b.get("every"):
        found.append(f"one of {a.get('every')} windows, not one of {b.get('every')}")
    if a.get("threshold") != b.get("threshold"):
        found.append(f"threshold {a.get('threshold')}, not {b.get('threshold')}")
    if not found and own.get("sequences_sha256") != wanted.get("sequences_sha256"):
        found.append("other sequences")
    return ", ".join(found) or "measured by another version of the protocol"
