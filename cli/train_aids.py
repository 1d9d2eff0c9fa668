"""Other modes of `trace train`: preflight checks, search for the largest batch, replay of a saved batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import options

if TYPE_CHECKING:
    from trace_data.progress import Progress
    from trace_data.shards.storage.store import Store
    from trace_train.config import Config
    from trace_train.health.replay import Replay
    from trace_train.preflight.parts import PreflightReport


@dataclass(frozen=True)
class Aids:
    """The inputs of a run, from the options."""

    config: Config
    shards: Store
    packs: Path
    run: Path
    resume: bool

    def check(self, progress: Progress) -> None:
        """Check everything before a run: prints two lines, or raises an error with all problems.

        Of several processes only the first one checks.
        """
        from trace_train.training.distributed import from_environment

        if not from_environment().first:
            return
        report = self._report()
        report.raise_if_wrong()
        summaries = {part.name: part.found for part in report.parts}
        progress.log(f"preflight  {'  '.join(f'{name} ✓' for name in summaries)}")
        progress.log(f"           memory: {summaries['memory']}   disk: {summaries['disk']}   → {self.run}")
        for part in report.parts:
            for warning in part.warnings:
                progress.log(f"           {part.name}: {warning}")

    def show_check(self, *, as_json: bool) -> int:
        """Check everything and show the results with hints. Returns the exit code."""
        from . import render

        with render.Display() as progress:
            report = self._report(progress)
        if as_json:
            render.json_object(_as_object(report))
            return 0 if report.ok else 3
        for part in report.parts:
            render.line(f"{'✓' if part.ok else '✗'} {part.name:<10} {part.found}".rstrip())
            for note in part.notes:
                render.line(f"    {note}")
            for warning in part.warnings:
                render.line(f"    {warning}")
            for error in part.errors:
                render.line(f"    {error.where}: {error.message}" if error.where else f"    {error.message}")
                if error.hint:
                    render.line(f"    → {error.hint}")
        count = len(report.errors)
        render.line("ready" if report.ok else f"\n{count} problem{'s' * (count != 1)}; nothing was started")
        return 0 if report.ok else 3

    def find_batch(self, preset: str, assignments: Sequence[str], *, as_json: bool) -> None:
        """Find the largest number of clips that fits, and show the command that uses it."""
        from trace_data.errors import quoted
        from trace_train.preflight.preflight import find_batch
        from trace_train.training.distributed import from_environment

        from . import render

        processes = from_environment()
        with render.Display() as progress:
            result = find_batch(
                self.config,
                shards=self.shards,
                packs=self.packs,
                run=self.run,
                world_size=processes.world_size,
                local_rank=processes.local_rank,
                progress=progress,
            )
        if as_json:
            render.json_object(result)
            return
        for stage, clips in zip(self.config.stages, result.clips):
            render.line(f"{clips} clips of {stage.frames} frames fit one process")
        given = " ".join(f"--set {quoted(text)}" for text in (*assignments, result.assignment))
        render.line(f"next: trace train --config {quoted(preset)} {given}")

    def _report(self, progress: Progress | None = None) -> PreflightReport:
        from trace_data.progress import SILENT
        from trace_train.preflight.preflight import preflight
        from trace_train.training.distributed import from_environment

        processes = from_environment()
        return preflight(
            self.config,
            shards=self.shards,
            packs=self.packs,
            run=self.run,
            resume=self.resume,
            world_size=processes.world_size,
            local_rank=processes.local_rank,
            progress=progress or SILENT,
        )


def _as_object(report: PreflightReport) -> dict[str, object]:
    parts = [
        {
            "name": part.name,
            "ok": part.ok,
            "found": part.found,
            "notes": part.notes,
            "warnings": part.warnings,
            "problems": [{"what": e.message, "where": e.where, "hint": e.hint} for e in part.errors],
        }
        for part in report.parts
    ]
    return {"ok": report.ok, "parts": parts}


def replay(file: Path, packs: Path | None, *, debugger: bool, as_json: bool) -> int:
    """Rerun a saved batch and show the first value that is not finite. Returns the exit code, 0 when all are finite.

    `packs`: by default those the run was trained with. `debugger`: stop there in pdb.
    """
    from trace_data.errors import CheckpointError, TrainingDiverged
    from trace_train.health.replay import NotFinite
    from trace_train.health.replay import replay as run_again
    from trace_train.weights.checkpoint import describe_run

    from . import render

    if packs is None:
        try:
            packs = describe_run(file.parent).packs
        except CheckpointError:  # the file is outside of its run
            packs = options.folder("packs")
    if debugger:
        import pdb

        try:
            run_again(file, packs=packs, raise_there=True)
        except (NotFinite, RuntimeError) as error:  # torch names the operation of a backward pass in a RuntimeError
            render.line(f"{type(error).__name__}: {error}")
            pdb.post_mortem(error.__traceback__)
            return TrainingDiverged.exit_code
        render.line("everything is finite this time")
        return 0
    result = run_again(file, packs=packs)
    if as_json:
        render.json_object(result)
    else:
        _show(result)
    return TrainingDiverged.exit_code if result.found else 0


def _show(result: Replay) -> None:
    from trace_data.errors import quoted

    from . import render

    render.line(f"{result.file.name}: step {result.step + 1:,}, weights {result.weights_from}, loss {result.total:.4g}")
    render.line(f"  {result.found or 'everything is finite this time'}")
    for name in result.weights:
        render.line(f"  weight {name} is not finite")
    for text in result.annotations:
        render.line(f"  {text}")
    columns = ("  term", "this clip", "the batch", "entries", "clip")
    rows = [
        (f"  {e.term}", f"{e.value:.4g}", f"{result.terms[e.term]:.4g}", str(e.count), e.clip) for e in result.worst
    ]
    render.table(columns, rows, numeric=columns[1:4])
    if result.found:
        render.line(f"next: trace train --replay {quoted(result.file)} --pdb  stops there in a debugger")
