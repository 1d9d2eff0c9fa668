"""What `trace train` does beside training: preflight, looking for the largest batch, running a saved batch again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from . import options

if TYPE_CHECKING:
    from trace_data.progress import Progress
    from trace_data.shards.store import Store
    from trace_train.config import Config
    from trace_train.preflight.parts import PreflightReport


def check(
    config: Config, shards: Store, packs: Path, run: Path, *, resume: bool, progress: Progress, shown: bool
) -> PreflightReport | None:
    """Look at all that a run needs, in the first of its processes; the others leave it to that one.

    With `shown` one short line says what was found, when all is well.
    """
    from trace_train.distributed import from_environment
    from trace_train.preflight.preflight import preflight

    processes = from_environment()
    if not processes.first:
        return None
    report = preflight(
        config,
        shards=shards,
        packs=packs,
        run=run,
        resume=resume,
        world_size=processes.world_size,
        local_rank=processes.local_rank,
    )
    if shown and report.ok:
        found = {part.name: part.found for part in report.parts}
        progress.say(f"preflight  {'  '.join(f'{name} ✓' for name in found)}")
        progress.say(f"           memory: {found['memory']}   disk: {found['disk']}   → {run}")
        for part in report.parts:
            for warning in part.warnings:
                progress.say(f"           {part.name}: {warning}")
    return report


def show_check(report: PreflightReport, *, as_json: bool) -> None:
    """Everything that was looked at, with what is wrong and what mends it."""
    from . import render

    if as_json:
        parts = [
            {
                "name": part.name,
                "ok": part.ok,
                "found": part.found,
                "warnings": part.warnings,
                "problems": [{"what": e.message, "where": e.where, "hint": e.hint} for e in part.errors],
            }
            for part in report.parts
        ]
        render.json_object({"ok": report.ok, "parts": parts})
        return
    for part in report.parts:
        render.line(f"{'✓' if part.ok else '✗'} {part.name:<10} {part.found}".rstrip())
        for warning in part.warnings:
            render.line(f"    {warning}")
        for error in part.errors:
            render.line(f"    {error.where}: {error.message}" if error.where else f"    {error.message}")
            if error.hint:
                render.line(f"    → {error.hint}")
    count = len(report.errors)
    render.line("ready" if report.ok else f"\n{count} problem{'s' * (count != 1)}; nothing was started")


def find_batch(
    config: Config, shards: Store, packs: Path, run: Path, *, command: str, progress: Progress, as_json: bool
) -> None:
    """Look for the most clips that fit, and show the command that takes them."""
    from trace_train.distributed import from_environment
    from trace_train.preflight.preflight import find_batch as find

    from . import render

    found = find(
        config, shards=shards, packs=packs, run=run, world_size=from_environment().world_size, progress=progress
    )
    if as_json:
        render.json_object(found)
        return
    for stage, clips in zip(config.stages, found.clips):
        render.line(f"{clips} clips of {stage.frames} frames fit one process")
    render.line(f"next: {command} --set '{found.assignment}'")


def replay(file: Path, packs: Path | None, *, debugger: bool, as_json: bool) -> bool:
    """Run a saved batch again and show where it begins. Returns whether everything was finite this time.

    `debugger`: stop in Python's debugger where it begins instead.
    """
    from trace_train.health.replay import NotFinite
    from trace_train.health.replay import replay as run_again

    from . import render

    packs = options.folder("packs", packs)
    if debugger:
        import pdb

        try:
            run_again(file, packs=packs, raise_there=True)
        except (NotFinite, RuntimeError) as error:  # torch names the operation of a backward pass in a RuntimeError
            render.line(f"{type(error).__name__}: {error}")
            pdb.post_mortem(error.__traceback__)
            return False
        render.line("everything is finite this time")
        return True
    found = run_again(file, packs=packs)
    if as_json:
        render.json_object(found)
        return not found.found
    render.line(f"{file.name}: step {found.step + 1:,}, weights {found.weights_from}, loss {found.total:.4g}")
    render.line(f"  {found.found}" if found.found else "  everything is finite this time")
    for name in found.weights:
        render.line(f"  weight {name} is not finite")
    for text in found.annotations:
        render.line(f"  {text}")
    rows = [(e.term, f"{e.value:.4g}", f"{found.terms[e.term]:.4g}", str(e.count), e.clip) for e in found.worst]
    render.table(
        ("term", "this clip", "the batch", "entries", "clip"), rows, numeric=("this clip", "the batch", "entries")
    )
    if found.found:
        render.line(f"next: trace train --replay {file} --pdb  stops there in a debugger")
    return not found.found
