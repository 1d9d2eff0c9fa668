"""`trace train`: the network on shards."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from . import options


@options.command("train")
@click.option("--config", "preset", default="trace", show_default=True, help="Preset (trace, debug) or a YAML file.")
@click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Override one key, as in steps=200; repeatable."
)
@options.shards
@options.packs
@options.out("Run folder [setting runs, then DATE-PRESET].")
@click.option(
    "--resume", type=click.Path(path_type=Path, file_okay=False, exists=True), help="Go on with the run in this folder."
)
@click.option("--check", is_flag=True, help="Only look at all that the run needs; exits 3 when something is wrong.")
@click.option("--find-batch", is_flag=True, help="Only try how many clips fit the memory.")
@click.option(
    "--replay",
    type=options.AnyPath(dir_okay=False, exists=True),
    metavar="FILE",
    help="Only run a saved batch again (not-finite-step-….pth) and say where its numbers stop being finite.",
)
@click.option("--pdb", "debugger", is_flag=True, help="With --replay: stop there in Python's debugger.")
@options.json
@click.pass_context
def train(
    context: click.Context,
    preset: str,
    assignments: tuple[str, ...],
    shards: Path | str | None,
    cache: Path | None,
    cache_size: str | None,
    packs: Path | None,
    out: Path | None,
    resume: Path | None,
    check: bool,
    find_batch: bool,
    replay: Path | None,
    debugger: bool,
    as_json: bool,
) -> None:
    """Train the network on shards; stop it at any time, it goes on exactly where it was.

    A run folder holds config.yaml, metrics.jsonl and checkpoints. With --resume the run's own configuration holds;
    only --set steps=… may lengthen it.

    \b
    Examples:
      trace train                                  the published size, on a GPU
      trace train --config debug                   a small network on the CPU
      trace train --shards s3://bucket/shards --cache /scratch/cache --cache-size 500GB
      trace train --config debug --set steps=2400 --set optim.lr=0.001
      trace train --resume ~/.trace/runs/2026-11-22-debug
      trace train --check                          look, and do not train
      trace train --replay RUN/not-finite-step-00000123.pth
    """
    from datetime import date

    from trace_data.errors import TrainingDiverged
    from trace_train.config import load_config
    from trace_train.preflight.parts import PreflightError
    from trace_train.train import train as run_training

    from . import render, train_aids

    if replay is not None:
        if not train_aids.replay(replay, packs, debugger=debugger, as_json=as_json):
            context.exit(TrainingDiverged.exit_code)
        return

    if resume is not None:
        _check_resume(context, resume)
        config = load_config(resume / "config.yaml", assignments)
        run = resume
    else:
        config = load_config(preset, assignments)
        run = out or options.folder("runs") / f"{date.today()}-{Path(preset).stem}"
    packs = options.folder("packs", packs)
    with render.Display() as progress:
        store = options.store(shards, cache, cache_size, progress)
        if find_batch:
            command = _command(preset, assignments)
            train_aids.find_batch(config, store, packs, run, command=command, progress=progress, as_json=as_json)
            return
        looked_at = train_aids.check(
            config, store, packs, run, resume=resume is not None, progress=progress, shown=not check
        )
        if looked_at is not None and not check:
            looked_at.raise_if_wrong()
    if check:
        if looked_at is not None:
            train_aids.show_check(looked_at, as_json=as_json)
            context.exit(0 if looked_at.ok else PreflightError.exit_code)
        return
    with render.Display() as progress:
        report = run_training(
            config,
            shards=store,
            packs=packs,
            run=run,
            resume=resume is not None,
            progress=progress,
        )
    if as_json:
        render.json_object(report)
        return
    synthetic = "  (synthetic data)" if report.synthetic else ""
    render.line(
        f"train  {config.preset}{synthetic}, {report.steps:,} steps, {report.parameters / 1e6:.1f} M parameters,"
        f" loss {report.first_loss:.1f} → {report.last_loss:.1f}, data wait {100 * report.data_wait:.1f} %,"
        f" {render.duration(report.seconds)}"
    )
    render.line(f"  checkpoint  {report.checkpoint}")
    render.line(f"next: trace evaluate {report.run}")


def _command(preset: str, assignments: tuple[str, ...]) -> str:
    """The command with the options that say what is trained."""
    import shlex

    return " ".join(["trace train", f"--config {preset}", *(f"--set {shlex.quote(text)}" for text in assignments)])


def _check_resume(context: click.Context, run: Path) -> None:
    """Refuse options that a resumed run would silently ignore, and folders that hold no run."""
    from trace_data.errors import CheckpointError

    for parameter, flag in (("preset", "--config"), ("out", "--out")):
        if context.get_parameter_source(parameter) is ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"{flag} and --resume exclude each other: a run goes on in its folder, as it began", context
            )
    if not (run / "config.yaml").is_file():
        raise CheckpointError(
            "holds no run (there is no config.yaml)", where=run, hint="trace train --config debug  starts a new one"
        )
