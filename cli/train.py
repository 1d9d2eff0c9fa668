"""`trace train`: train the network on shards."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from . import options

if TYPE_CHECKING:
    from trace_data.progress import Progress
    from trace_train.config import Config
    from trace_train.train import TrainReport

    from .train_aids import Aids


@options.command("train")
@click.option(
    "--config",
    "preset",
    default="trace",
    show_default=True,
    help="A YAML file or a preset: trace; its stages trace-a, trace-b, trace-c; trace-bedlam (with BEDLAM);"
    " world (moving cameras only); debug, demo (small).",
)
@click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Override one key, as in steps=200; repeatable."
)
@options.shards
@options.packs
@options.out("Run folder [setting runs, then DATE-PRESET].")
@click.option("--resume", type=options.AnyPath(file_okay=False, exists=True), help="Resume the run in this folder.")
@click.option("--check", is_flag=True, help="Only check everything the run needs; exits 3 when something is wrong.")
@click.option("--find-batch", is_flag=True, help="Only find out how many clips fit into memory.")
@click.option(
    "--replay",
    type=options.AnyPath(dir_okay=False, exists=True),
    metavar="FILE",
    help="Only rerun a saved batch (not-finite-step-….pth) and say where its numbers stop being finite.",
)
@click.option("--pdb", "debugger", is_flag=True, help="With --replay: stop there in pdb.")
@click.option("--print-config", is_flag=True, help="Only print the resulting configuration, as YAML.")
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
    print_config: bool,
    as_json: bool,
) -> None:
    """Train the network on shards. It can be stopped at any time and resumes exactly where it was.

    A run folder holds config.yaml, metrics.jsonl, checkpoints and report.html. With --resume the run's own
    configuration, shards and packs are used; --set steps=… may lengthen it, --shards and --packs give the new location
    of moved folders. Ctrl-C, SIGTERM, SIGUSR1 and SIGHUP save a checkpoint and exit 130. Several GPUs:
    `trace docs cluster`.

    \b
    Examples:
      trace train                                  the published size, on a GPU
      trace train --config debug                   a small network on the CPU
      trace train --shards s3://bucket/shards --cache /scratch/cache --cache-size 500GB
      trace train --config debug --set steps=2400 --set optim.lr=0.001
      trace train --resume ~/.trace/runs/2026-11-22-debug
      torchrun --nproc-per-node 4 -m trace_cli train --shards /scratch/shards
      trace train --check                          check, without training
      trace train --set stages.0.clips=4 --print-config
      trace train --replay RUN/not-finite-step-00000123.pth
    """
    from datetime import date

    from trace_data.progress import SILENT
    from trace_train.config import changed, load_config
    from trace_train.training.distributed import from_environment
    from trace_train.training.signals import one_interrupt
    from trace_train.training.threads import fit_threads
    from trace_train.weights.checkpoint import describe_run

    from . import render, train_aids

    context.with_resource(one_interrupt())

    if replay is not None:
        context.exit(train_aids.replay(replay, packs, debugger=debugger, as_json=as_json))
    if resume is not None:
        _check_resume(context)
        memory = describe_run(resume)
        config, run = changed(memory.config, assignments), resume
    else:
        config = load_config(preset, assignments)
        run = out or options.folder("runs") / f"{date.today()}-{Path(preset).stem}"
    if print_config:
        _print(config, as_json)
        return
    if resume is not None:
        command = f"trace train --resume {shlex.quote(str(resume))}"
        shards = shards or options.still_there(memory.shards, "shards", command)
        packs = packs or Path(options.still_there(str(memory.packs), "packs", command))
    with render.Display() as display:
        progress = display if from_environment().first else SILENT
        if said := fit_threads(memory.threads if resume is not None else None):
            progress.log(said)
        store = options.store(shards, cache, cache_size, progress)
        aids = train_aids.Aids(config, store, options.folder("packs", packs), run, resume=resume is not None)
        if not (check or find_batch):
            aids.check(progress)
            done = _train(aids, progress)
    if check:
        context.exit(aids.show_check(as_json=as_json))
    elif find_batch:
        aids.find_batch(preset, assignments, as_json=as_json)
    elif from_environment().first:
        _show(*done, config.preset, as_json)


def _train(aids: Aids, progress: Progress) -> tuple[TrainReport, str]:
    """Result of the run, and the path of its page, which only the first of several processes writes."""
    from trace_train.report.run import report_or_why_not
    from trace_train.train import train
    from trace_train.training.distributed import from_environment

    report = train(
        aids.config, shards=aids.shards, packs=aids.packs, run=aids.run, resume=aids.resume, progress=progress
    )
    if not from_environment().first:
        return report, ""
    return report, report_or_why_not(aids.run, shards=aids.shards, packs=aids.packs, progress=progress)


def _show(report: TrainReport, page: str, preset: str, as_json: bool) -> None:
    from trace_data.errors import quoted

    from . import render

    if as_json:
        render.json_object(report)
        return
    synthetic = "  (synthetic data)" if report.synthetic else ""
    if not report.steps_now:
        render.line(f"this run is finished: {report.steps:,} of {report.steps:,} steps are done")
        render.line(f"  --set steps={2 * report.steps}  would lengthen it")
    else:
        render.line(
            f"train  {preset}{synthetic}, {report.steps:,} steps, {report.parameters / 1e6:.1f} M parameters,"
            f" loss in stage {report.stage} {report.first_loss:.1f} → {report.last_loss:.1f},"
            f" data wait {100 * report.data_wait:.1f} %, {render.duration(report.seconds)}"
        )
    render.line(f"  checkpoint  {report.checkpoint}")
    render.line(f"  {page}")
    render.line(f"next: trace evaluate {quoted(report.run)}")


def _print(config: Config, as_json: bool) -> None:
    """The whole configuration, as `--config FILE` takes it."""
    import yaml

    from . import render

    values = config.model_dump(mode="json")
    if as_json:
        render.json_object(values)
    else:
        render.line(yaml.safe_dump(values, sort_keys=False).rstrip())


def _check_resume(context: click.Context) -> None:
    """Reject options that a resumed run would silently ignore."""
    for parameter, flag in (("preset", "--config"), ("out", "--out")):
        if context.get_parameter_source(parameter) is ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"{flag} and --resume exclude each other: a run resumes in its folder, as it began", context
            )
