"""Key facts and warnings of a run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from trace_data.pages.html import Html, element, folded, joined, note, table
from trace_data.shards.entries import ShardIndex
from trace_train.health.ranges import LOOKED_AT, oddities
from trace_train.health.watch import LONG_WAIT
from trace_train.report.curves import batch_words, stage_marks
from trace_train.report.folder import RunFolder
from trace_train.report.page import Section
from trace_train.report.terms import TOTAL, number, terms_of
from trace_train.training.run_log import METRICS
from trace_train.weights.provenance import training_data

SHOWN = 20
"""Maximum number of warnings and of unreadable clips listed."""


def badges(run: RunFolder, *, synthetic: bool) -> list[tuple[str, str]]:
    """Badges next to the title."""
    found = [("synthetic data", "synthetic")] if synthetic else []
    if run.state == "finished":
        return [*found, ("finished", "good")]
    words = f"{run.state} at step {run.step:,}" if run.state == "interrupted" else f"going on, step {run.step:,}"
    return [*found, (f"{words} of {run.steps:,}", "open")]


def facts(run: RunFolder, index: ShardIndex | None) -> list[tuple[str, object]]:
    """Names and values of known facts."""
    data, versions = run.data, run.checkpoint.get("versions") or {}
    answers = [
        ("trained on", _trained_on(run, index)),
        ("preset and network", _network(run.settings)),
        ("steps", f"{run.step:,} of {run.steps:,}"),
        ("batches", _batches(run.settings)),
        ("began from", (data.get("start") or {}).get("weights")),
        ("time", _time(run)),
        ("computed on", data.get("hardware") or _device(run.settings)),
        ("versions", ", ".join(f"{name} {str(value)[:12]}" for name, value in versions.items() if value)),
        ("shards", _with_hash(data.get("shards"), data.get("shards_sha256"))),
        ("body models", _with_hash("", data.get("packs_sha256"))),
        ("last line of the log", _last_line(run)),
    ]
    return [(name, answer) for name, answer in answers if answer]


def _trained_on(run: RunFolder, index: ShardIndex | None) -> str:
    known = run.data.get("trained_on") or (training_data(index) if index is not None else "")
    return str(known or ("synthetic data" if run.data.get("synthetic") else ""))


def _network(settings: Mapping[str, Any]) -> str:
    network = settings.get("network") or {}
    kind = "frames of a clip see each other" if network.get("temporal", True) else "single frames"
    words = [f"{settings.get('preset', '')}", f"{network.get('input_size', '?')} px", kind]
    return ", ".join(word for word in words if word)


def _batches(settings: Mapping[str, Any]) -> str:
    stages = settings.get("stages") or []
    begins = ["", *(f" from step {step:,.0f}" for step, _ in stage_marks(settings))]
    return ", then ".join(f"{batch_words(stage)}{begin}" for stage, begin in zip(stages, begins))


def seconds_of(run: RunFolder) -> float:
    """Duration of the logged steps, from throughput and clips per step; NaN if unknown."""
    stages = run.settings.get("stages") or []
    begins = [0.0, *(step for step, _ in stage_marks(run.settings))]
    total, before = 0.0, 0
    for line in run.lines:
        stage = max((i for i, begin in enumerate(begins) if before >= begin), default=0)
        clips = number(stages[stage].get("clips")) if stage < len(stages) else math.nan
        total += (line["step"] - before) * clips / (number(line.get("clips_per_s")) or math.nan)
        before = line["step"]
    return total


def _time(run: RunFolder) -> str:
    seconds = seconds_of(run)
    if not math.isfinite(seconds) or not run.lines:
        return ""
    waits = [number(line.get("data_wait")) for line in run.lines]
    wait = f", {100 * sum(waits) / len(waits):.1f} % of it waiting for data" if all(map(math.isfinite, waits)) else ""
    left = ""
    if run.state != "finished":
        left = f"; about {duration(seconds * (run.steps / run.lines[-1]['step'] - 1))} to go"
    return f"{duration(seconds)} in steps{wait}{left}"


def duration(seconds: float) -> str:
    """`38 s`, `4 min 05 s`, `3 h 12 min`."""
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    return (
        f"{whole // 60} min {whole % 60:02d} s" if whole < 7200 else f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    )


def _device(settings: Mapping[str, Any]) -> str:
    return {"cpu": "CPU", "cuda": "GPU (CUDA)"}.get(str(settings.get("device")), "")


def _with_hash(what: object, digest: object) -> Html | str:
    if not digest:
        return str(what or "")
    code = element("code", f"sha256 {str(digest)[:12]}…")
    return joined([what, code], " ") if what else code


def _last_line(run: RunFolder) -> str:
    if not run.lines:
        return "none yet"
    written = datetime.fromtimestamp((run.path / METRICS).stat().st_mtime).astimezone()
    return f"step {run.lines[-1]['step']:,}, {written:%Y-%m-%d %H:%M %Z}"


def warnings_section(run: RunFolder) -> Section:
    """Warnings logged during training, and warnings derived from the log."""
    kept = [f"The loss was not finite; the batch is kept: trace train --replay {file}" for file in run.not_finite]
    entries = [*kept, *_of_the_numbers(run), *_out_of_range(run)]
    body = element("ul", *(element("li", words) for words in entries[:SHOWN]), style="warnings") if entries else Html()
    more = note(f"and {len(entries) - SHOWN:,} more") if len(entries) > SHOWN else Html()
    skipped = _skipped(run)
    if not entries and not skipped:
        body = note("Nothing unusual: every term had valid entries, data came in time, no clip was left out.")
    return Section(
        title="What to look at", body=joined([body, more, skipped]) if run.lines or entries or skipped else Html()
    )


def _of_the_numbers(run: RunFolder) -> list[str]:
    if not run.lines:
        return []
    warnings = []
    late = run.lines[-max(1, len(run.lines) // 4) :]
    waits = [number(line.get("data_wait")) for line in late]
    wait = sum(waits) / len(waits)
    if wait > LONG_WAIT:
        warnings.append(
            f"The last quarter of the run waited {100 * wait:.0f} % of its time for data: more data.threads, a larger "
            "data.prefetch or a faster disk would make it quicker."
        )
    idle = [t for t in terms_of(late) if not any(number((line.get("counts") or {}).get(t, 1)) > 0 for line in late)]
    if idle:
        warnings.append(f"Terms without a single valid entry in the last quarter of the run: {', '.join(idle)}.")
    if number(run.lines[-1].get("skipped")) > 0:
        warnings.append(f"{run.lines[-1]['skipped']:,} steps were skipped because their gradient overflowed.")
    totals = [number(line["loss"].get(TOTAL)) for line in run.lines]
    quarter = len(totals) // 4
    if quarter and not sum(totals[-quarter:]) < sum(totals[:quarter]):
        warnings.append("The total loss of the last quarter is not lower than that of the first.")
    return warnings


def _out_of_range(run: RunFolder) -> list[str]:
    """Terms outside their normal range at steps 1, 100 and 1000, as warned during the run."""
    last = next((i for i, line in enumerate(run.lines) if line["step"] >= max(LOOKED_AT)), len(run.lines) - 1)
    lines = run.lines[: last + 1]
    if not all({"counts", "lr"} <= line.keys() for line in lines):
        return []
    fresh = not run.data.get("start")
    return [str(oddity) for i in range(len(lines)) for oddity in oddities(lines[: i + 1], fresh=fresh)]


def _skipped(run: RunFolder) -> Html:
    if not run.errors:
        return Html()
    reasons = Counter(str(error.get("reason", "not said")) for error in run.errors)
    rows = [(f"{count:,}", reason) for reason, count in reasons.most_common(SHOWN)]
    listed = [", ".join(f"{key} {value}" for key, value in error.items()) for error in run.errors[:SHOWN]]
    return joined(
        [
            note(f"Clips that could not be read and were replaced: {len(run.errors):,}."),
            table(("times", "why"), rows),
            folded(f"the first {len(listed)}", element("ul", *(element("li", words) for words in listed))),
        ]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTook:
    """One step of the way."""

    name: str
    seconds: float
    text: str
    """Result in one line."""


def steps_section(steps: Sequence[StepTook]) -> Section:
    """A table of the steps and their sum."""
    total = StepTook(name="in all", seconds=sum(step.seconds for step in steps), text="")
    rows = [(step.name, f"{step.seconds:,.1f} s", step.text) for step in (*steps, total)]
    return Section(title="What each step took", body=table((), rows, style="steps"))
