"""`trace make-sample`: write the synthetic sample world, which needs no licensed data."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from . import options


@options.command("make-sample")
@click.argument("out", type=options.AnyPath(file_okay=False))
@click.option("--seed", default=0, show_default=True, help="Same seed, same world.")
@options.count(320, least=3, text="Number of sequences; all five datasets need at least 8.")
@options.clip_frames(least=2, text="Frames of each sequence.")
@click.option(
    "--height", type=click.IntRange(min=64), default=240, show_default=True, help="Short side of a frame, px."
)
@click.option(
    "--also",
    multiple=True,
    type=click.Choice(["bedlam", "bedlam2", "emdb", "mupots", "rich"]),
    help="Also write this dataset, an eighth as many sequences; repeatable.",
)
@click.option(
    "--videos",
    type=click.IntRange(0, 99),
    default=0,
    show_default=True,
    help="Number of longer videos to predict, each with its exact result.",
)
@click.option(
    "--motions",
    type=options.AnyPath(exists=True, file_okay=False),
    metavar="FOLDER",
    help="AMASS motions instead of drawn ones; their licence then holds for the world.",
)
@click.option("--video-height", type=click.IntRange(64, 2160), help="Height of the videos, px  [default: --height].")
@options.jobs
@options.force
@options.json
def make_sample(
    out: Path,
    seed: int,
    count: int,
    clip_frames: int,
    height: int,
    also: tuple[str, ...],
    videos: int,
    video_height: int | None,
    motions: Path | None,
    jobs: int,
    force: bool,
    as_json: bool,
) -> None:
    """Write the synthetic sample world into the folder OUT.

    OUT/body_models holds free bodies (each gender, and an infant) in the official SMPL file format; OUT/datasets holds
    rendered sequences with exact annotations, in the official layouts of 3DPW, DynaCam, Human3.6M, MPI-INF-3DHP and
    Penn Action. About half are 3DPW's; all five need at least 8. Nothing is derived from SMPL or from recorded people.

    With --videos, OUT/videos holds clips of 8 s in which people enter, leave, cross, and hide behind a pillar: in turn
    from a moving camera, from a static one, and in two shots. NAME.truth.npz beside NAME.mp4 is the exact result, for
    trace evaluate --against. Nobody in them is in a training sequence.

    With --motions, people move as in the AMASS files below FOLDER (SMPL+H or SMPL-X, *_poses.npz and *_stageii.npz).
    Their licence then holds for the world too; OUT/MOTIONS.txt lists them.

    The same command resumes an interrupted run. Nobody in a training sequence appears in validation or test, in any
    dataset.

    \b
    Examples:
      trace make-sample world
      trace make-sample tiny --count 8 --clip-frames 6 --height 120
      trace make-sample other --seed 7 --jobs 8
      trace make-sample world --also bedlam --also emdb
      trace make-sample world --videos 3
      trace make-sample moving --motions ~/amass/CMU
    """
    from trace_data.errors import quoted
    from trace_data.sample_world.make import make_sample as write

    from . import render

    with render.Display() as progress:
        summary = write(
            out,
            seed=seed,
            sequences=count,
            frames=clip_frames,
            height=height,
            also=also,
            videos=videos,
            video_height=video_height,
            motions=motions,
            jobs=jobs,
            force=force,
            progress=progress,
        )
    if as_json:
        places = {"body_models": summary.body_models, "datasets": summary.datasets, "synthetic": True}
        render.json_object({**dataclasses.asdict(summary), **places})
        return
    render.line(
        f"sample world  {summary.sequences:,} sequences, {summary.frames:,} frames, {summary.people:,} bodies"
        "  (synthetic)"
    )
    render.line(f"  body models   {summary.body_models}")
    held = ", ".join(f"{name} {count:,}" for name, count in summary.sequences_of.items())
    render.line(f"  datasets      {summary.datasets}  ({held})")
    if summary.videos:
        render.line(f"  videos        {summary.videos[0].parent}  ({len(summary.videos)})")
    if summary.motion_files:
        files = "1 file" if summary.motion_files == 1 else f"{summary.motion_files:,} files"
        render.line(f"  motions       from {files}, whose licence holds for this world  (MOTIONS.txt)")
    render.line(f"next: trace prepare-smpl --gender all --source {quoted(summary.body_models)}")
