"""`trace fit-pose-prior`: the mixture of Gaussians of `loss.pose_prior`, fitted to recorded motions."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from . import options


@options.command("fit-pose-prior")
@click.argument(
    "motions", nargs=-1, required=True, metavar="FOLDER...", type=options.AnyPath(exists=True, file_okay=False)
)
@options.out("Folder the prior is written to, as pose_prior.pkl", default=".")
@click.option(
    "--gaussians", type=click.IntRange(1, 64), default=8, show_default=True, help="How many; SMPLify's file has 8."
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.01),
    default=1.0,
    show_default=True,
    help="Seconds from one pose to the next: neighbours say almost the same.",
)
@click.option("--seed", default=0, show_default=True, help="Same seed and motions, same file.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@options.json
def fit_pose_prior(
    motions: tuple[Path, ...], out: Path, gaussians: int, seconds: float, seed: int, force: bool, as_json: bool
) -> None:
    """Fit a pose prior to the motions of AMASS below some folders.

    Writes pose_prior.pkl in the form of SMPLify's gmm_08.pkl, for the key supervision.pose_prior_file of a run in which
    loss.pose_prior has a weight. Poses are taken as they are and mirrored, without the first and last second of each
    motion. The licence of the motions holds for the file.

    \b
    Examples:
      trace fit-pose-prior ~/amass
      trace fit-pose-prior ~/amass/CMU ~/amass/SFU --out priors --seconds 0.5
    """
    from trace_data.errors import quoted
    from trace_data.motions.pose_prior import NAME
    from trace_data.motions.pose_prior import fit_pose_prior as fit
    from trace_data.progress import counted

    from . import render

    with render.Display() as progress:
        found = fit(motions, out / NAME, gaussians=gaussians, every=seconds, seed=seed, force=force, progress=progress)
    if as_json:
        render.json_object(dataclasses.asdict(found))
        return
    render.line(
        f"pose prior  {counted(found.gaussians, 'Gaussian')} of {found.poses:,} poses and their mirrored ones, from"
        f" {counted(found.motions, 'motion')}, whose licence holds for it"
    )
    render.line(f"  log likelihood of a pose  {found.log_likelihood:.1f}")
    render.line(f"next: trace train --set supervision.pose_prior_file={quoted(found.file)} --set loss.pose_prior=1.6")
