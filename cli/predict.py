"""`trace predict`: from videos to people with identities in one world."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import options

if TYPE_CHECKING:
    from trace_data.progress import Progress
    from trace_data.view.view import Viewed
    from trace_train.inference import PredictionReport, Predictor, VideoOptions, VideoPrediction


class ResultPlace(options.Folder):
    """A folder, or the name of a result file, which may exist."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if str(value).endswith(".npz"):
            return options.AnyPath(dir_okay=False).convert(value, param, ctx)
        return super().convert(value, param, ctx)


@options.command("predict")
@click.argument("videos", nargs=-1, required=True, metavar="VIDEO|FOLDER|IMAGE...", type=options.AnyPath())
@click.option(
    "--weights",
    type=options.AnyPath(),
    help="A run, checkpoint, imported weights, network to share, or demo  [setting weights, else the latest of setting"
    " runs].",
)
@options.packs
@click.option(
    "--out",
    metavar="FILE|DIR",
    type=ResultPlace(file_okay=False),
    help="NAME.trace.npz, or a folder for it  [default: this folder].",
)
@click.option("--start", type=click.FloatRange(min=0), metavar="SECONDS", help="Start at this second of the video.")
@click.option("--end", type=click.FloatRange(min=0), metavar="SECONDS", help="End before this second.")
@click.option(
    "--stride", type=click.IntRange(min=1), default=1, show_default=True, help="Only every N-th frame; times stay true."
)
@click.option("--frame-rate", type=float, metavar="FPS", help="Frames a second, of images or instead of the video's.")
@click.option(
    "--camera",
    metavar="auto|moving|static|background|FILE",
    help="Source of the camera path; FILE: TUM, COLMAP, transforms.json or a result  [default: auto].",
)
@click.option("--focal", type=float, metavar="PX", help="Focal length in pixels.")
@click.option("--focal-mm", type=float, metavar="MM", help="Focal length as on a 35 mm camera.")
@click.option("--fov", type=float, metavar="DEGREES", help="Field of view over the longer side.")
@click.option("--intrinsics", type=options.AnyPath(dir_okay=False), help="File with the camera matrix.")
@click.option("--people", metavar="all|largest|N", help="Most people at a time  [default: all].")
@click.option(
    "--score",
    type=click.FloatRange(0, 1),
    help="Score from which a detection can start a person  [default: 0.3].",
)
@click.option(
    "--keep-score",
    type=click.FloatRange(0, 1),
    help="Score from which it can continue a person  [default: 0.18, or --score if that is lower].",
)
@click.option(
    "--remember",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long a lost person is looked for  [default: 3].",
)
@click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Any setting, as in tracker.gate=8; repeatable."
)
@options.draw
@click.option("--device", help="cpu, cuda or cuda:1  [default: a GPU if there is one].")
@click.option("--export", "formats", metavar="FORMAT,…", help="Also write formats of trace export, as in glb,bvh.")
@click.option("--view", is_flag=True, help="Also write the page of trace view, NAME.html.")
@click.option(
    "--force",
    is_flag=True,
    help="Predict again, and replace what is there; with --draw or --export, only draw or export again.",
)
@options.json
def predict(
    videos: tuple[Path, ...],
    weights: Path | None,
    packs: Path | None,
    out: Path | None,
    start: float | None,
    end: float | None,
    stride: int,
    frame_rate: float | None,
    camera: str | None,
    focal: float | None,
    focal_mm: float | None,
    fov: float | None,
    intrinsics: Path | None,
    people: str | None,
    score: float | None,
    keep_score: float | None,
    remember: float | None,
    assignments: tuple[str, ...],
    draw: str | None,
    device: str | None,
    formats: str | None,
    view: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Find the people of videos, give each an identity, and place them and the camera in one world.

    Images listed in a row are one video, as is a folder of images. Each result is one file, NAME.trace.npz. After
    Ctrl-C, the same command resumes.

    --draw also writes NAME.overlay.mp4. With --draw or --export, an existing result of the same video, weights and
    options is not predicted again; --force then replaces only the drawn video and the exported files.

    \b
    Examples:
      trace predict street.mp4 --weights ~/.trace/runs/2026-11-22-trace
      trace predict *.mp4 --out results --camera static
      trace predict frames/ --frame-rate 25 --focal-mm 26 --people 2
      trace predict street.mp4 --camera slam.tum --set tracker.gate=8
      trace predict street.mp4 --draw overlay,ids,bird
    """
    from trace_data.export.run import check_format, export_beside
    from trace_data.frames.footage import group_inputs
    from trace_data.overlay.items import items_of
    from trace_train.config.tracker import TrackerConfig
    from trace_train.inference import Predictor, VideoOptions
    from trace_train.training.threads import fit_threads

    from . import render

    items = () if draw is None else items_of(draw)
    wanted = [word.strip() for word in (formats or "").split(",") if word.strip()]
    for name in wanted:
        check_format(name)
    if score is not None and keep_score is None and score < TrackerConfig().keep_score:
        keep_score = score
    given = {"people": people, "score": score, "keep_score": keep_score, "remember": remember}
    settings = [f"tracker.{key}={value}" for key, value in given.items() if value is not None]
    groups = group_inputs(videos)
    chosen = VideoOptions(
        start=start,
        end=end,
        stride=stride,
        frame_rate=frame_rate,
        focal=focal,
        focal_mm=focal_mm,
        fov=fov,
        intrinsics=intrinsics,
    )
    with render.Display() as progress:
        if said := fit_threads():
            progress.log(said)
        predictor = Predictor(
            weights or _default_weights(),
            packs=_packs(weights, packs),
            config=[*settings, *_camera(camera), *assignments],
            device=device,
        )
        prepared = _prepared(predictor, groups, chosen, out)
        drawn = _places_of_videos([place for _, place in prepared], force=force) if items else {}
        reports = []
        for number, (prediction, place) in enumerate(prepared):
            report = None if force and not (items or wanted) else prediction.finished(place)
            if report is None:
                _announce(prediction, place, progress, slow=number == 0)
                report = prediction.write(place, force=force, progress=progress)
            else:
                progress.log(f"{place} is there already{'' if items or wanted else '; --force predicts it again'}")
            reports.append(report)
            if items:
                _draw(prediction, place, drawn[place], items, progress)
    used = predictor.model.packs
    files = [export_beside(report.out, wanted, used, force=force) if wanted else [] for report in reports]
    pages = [_page(prediction, place) for prediction, place in prepared if view]
    if as_json:
        written = [file for some in files for file in some]
        render.json_object({"results": reports, "files": written, "videos": [*drawn.values()], "pages": pages})
        return
    for report, some in zip(reports, files):
        _tell(report)
        for file in some:
            render.line(f"  {file.format:<10}  {file.path}: {file.facts}")
    for video in drawn.values():
        render.line(f"{video}  {', '.join(items)}")
    for page in pages:
        render.line(f"{page.page}  picture: {page.picture}")


def _places_of_videos(places: list[Path], *, force: bool) -> dict[Path, Path]:
    """The drawn video of each result. Fails before any work begins, if one is there."""
    from trace_data.overlay.video import free_place

    return {place: free_place(place, force=force) for place in places}


def _draw(prediction: VideoPrediction, place: Path, video: Path, items: tuple[str, ...], progress: Progress) -> None:
    from trace_data.overlay.video import draw_result
    from trace_data.results.file import read_result

    draw_result(read_result(place), prediction.footage, video, items, packs=prediction.model.packs, progress=progress)


def _page(prediction: VideoPrediction, place: Path) -> Viewed:
    from trace_data.view.view import Choice, view_result

    source = prediction.footage.facts.path
    listed = prediction.footage.facts.kind == "images" and not source.is_dir()  # the first of them is not the video
    return view_result(place, None, Choice(video=None if listed else source, packs=prediction.model.packs))


def _camera(given: str | None) -> list[str]:
    """The settings that `--camera` stands for."""
    if given is None:
        return []
    if given in ("auto", "moving", "static", "background"):
        return [f"world.camera={given}"]
    if not Path(given).expanduser().exists():
        raise click.UsageError(
            f"--camera {given}: neither auto, moving, static or background, nor a file", click.get_current_context()
        )
    import json

    return [f"world.camera_file={json.dumps(str(Path(given).expanduser()))}"]


def _default_weights() -> Path:
    """Imported weights of the settings if they are a whole network, else the latest run."""
    from trace_data.errors import ConfigError

    imported, runs = options.folder("weights"), options.folder("runs")
    if (imported / "head.safetensors").is_file():
        return imported
    finished = [path.parent.parent for path in runs.glob("*/checkpoints/step-*")]
    if not finished:
        raise ConfigError(
            "there are no weights: neither imported ones nor a run of one's own",
            where=runs,
            hint="trace train  makes a run, trace import-weights  reads released ones; or name some with --weights",
        )
    return max(finished, key=lambda run: run.stat().st_mtime)


def _packs(weights: Path | None, packs: Path | None) -> Path | None:
    """The packs given, those of the run (None), or those of the settings for weights that are no run."""
    from trace_data.errors import TraceError
    from trace_train.inference.model import own_packs

    if packs is not None:
        return packs
    try:
        own = own_packs(weights or _default_weights())
    except TraceError:
        return options.folder("packs")
    return own if own.is_dir() else options.folder("packs")


def _prepared(
    predictor: Predictor, groups: list[tuple[Path, ...]], chosen: VideoOptions, out: Path | None
) -> list[tuple[VideoPrediction, Path]]:
    """Every video, opened, and the file for its result. Fails before any work begins."""
    from trace_data.errors import ConfigError
    from trace_data.files import writable_folder
    from trace_data.results.file import SUFFIX

    single = out is not None and out.suffix == ".npz"
    if single and len(groups) > 1:
        raise ConfigError(
            f"one file for {len(groups)} videos", where=out, hint="give a folder with --out, as in --out results"
        )
    prepared: dict[Path, VideoPrediction] = {}
    for paths in groups:
        prediction = predictor.prepare(paths, chosen)
        name = f"{prediction.footage.facts.name}{SUFFIX}"
        place = out if single and out is not None else (out or Path()) / name
        if place in prepared:
            raise ConfigError(
                "two videos have this name, and both results would be written here",
                where=place,
                hint="predict them one after the other, with a name of its own: --out NAME.trace.npz",
            )
        prepared[place] = prediction
    for place in prepared:
        writable_folder(place.absolute().parent)
    return [(prediction, place) for place, prediction in prepared.items()]


def _announce(prediction: VideoPrediction, place: Path, progress: Progress, *, slow: bool) -> None:
    """Say what was found before the work begins. `slow`: also measure how long it will take."""
    from trace_data.progress import counted, duration, size_in_words

    facts = prediction.footage.facts
    width, height = facts.size
    rate = "" if facts.frame_rate is None else f"{facts.frame_rate:.4g} frames/s"
    spaced = {True: " on average, unevenly spaced", False: "", None: ""}[facts.variable_rate]
    known = [
        f"{width}x{height} px",
        f"turned by {facts.rotation} degrees" if facts.rotation else "",
        rate + spaced,
        "" if facts.hdr is None else f"HDR ({facts.hdr})",
        "" if facts.bit_depth in (None, 8) else f"{facts.bit_depth} bits",
        "" if prediction.expected_frames is None else f"about {counted(prediction.expected_frames, 'frame')}",
    ]
    progress.log(f"{facts.path.name}: {', '.join(part for part in known if part)}, read by {facts.decoder}")
    progress.log(f"lens    {prediction.lens.source}: {prediction.lens.matrix[0, 0]:.0f} px")
    model = prediction.model
    progress.log(f"network {model.source.name}, step {model.source.step:,}, on {model.source.device}")
    for line in facts.warnings:
        progress.log(f"note    {line}")
    if slow:
        cost = prediction.cost()
        expected = prediction.expected_frames
        needed = "" if expected is None else f"about {duration(cost.seconds_per_frame * expected)}, "
        progress.log(
            f"needs   {needed}{1 / cost.seconds_per_frame:.1f} frames/s, {size_in_words(cost.memory)} of memory"
        )


def _tell(report: PredictionReport) -> None:
    from trace_data.progress import counted

    from . import render

    known = [counted(report.people, "person").replace("persons", "people"), counted(report.rows, "row")]
    known += [f"camera {report.camera.get('source')}"]
    if report.gaps:
        known.append(f"{counted(report.gaps, 'frame')} unread")
    render.line(f"{report.out}  {counted(report.frames, 'frame')}, {', '.join(known)}")
    for warning in report.warnings:
        render.line(f"  ! {warning}")
