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
    as_json: bool,
) -> None:
    """Train the network on shards; stop it at any time, it goes on exactly where it was.

    A run folder holds config.yaml, metrics.jsonl, checkpoints and report.html. With --resume the run's own
    configuration holds; only --set steps=… may lengthen it.

    \b
    Examples:
      trace train                                  the published size, on a GPU
      trace train --config debug                   a small network on the CPU
      trace train --shards s3://bucket/shards --cache /scratch/cache --cache-size 500GB
      trace train --config debug --set steps=2400 --set optim.lr=0.001
      trace train --resume ~/.trace/runs/2026-11-22-debug
    """
    import os
    from datetime import date

    from trace_train.config import load_config
    from trace_train.report.run import report_or_why_not
    from trace_train.train import train as run_training

    from . import render

    if resume is not None:
        _check_resume(context, resume)
        config = load_config(resume / "config.yaml", assignments)
        run = resume
    else:
        config = load_config(preset, assignments)
        run = out or options.folder("runs") / f"{date.today()}-{Path(preset).stem}"
    with render.Display() as progress:
        store, bodies = options.store(shards, cache, cache_size, progress), options.folder("packs", packs)
        report = run_training(config, shards=store, packs=bodies, run=run, resume=resume is not None, progress=progress)
        first = os.environ.get("RANK", "0") == "0"  # of several processes one draws
        page = report_or_why_not(run, shards=store, packs=bodies, progress=progress) if first else ""
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
    render.line(f"  {page}")
    render.line(f"next: trace evaluate {report.run}")


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
