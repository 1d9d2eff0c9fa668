"""`trace quickstart`: the whole pipeline on synthetic data, in one folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import options
from .chain import RECORDS, Done, Outcome, Step, open_folder, run_steps

if TYPE_CHECKING:
    from trace_data.progress import Progress
    from trace_data.sample_world.make import SampleSummary
    from trace_train.evaluate import Scores
    from trace_train.inference import Predictor

STEPS = 1200
"""Training steps. A fixed number, not a time budget, so that results are reproducible."""
SEQUENCES = 640
HEIGHT, VIDEO_HEIGHT = 160, 240
"""Of the pictures of the datasets and of the videos, px. The network sees 96: smaller pictures leave time for more
sequences, and with these for more poses."""
SHARD_BYTES = 4 << 20
"""Far below the usual size, so that this little data makes enough shards to keep all workers busy."""
PICTURES = 8
"""Number of times that predictions are drawn during training."""
SCORES = 2
"""Number of evaluations on held-out frames during training."""
VIDEOS = 2
"""Videos to predict: one of a moving camera, one of a static one."""
TRACKER = ("tracker.score=0.2", "tracker.keep_score=0.1")
"""After so few steps the network is sure of nobody: its own evaluation counts people from 0.2 on, too."""
DRAWN, FORMATS = ("overlay", "ids", "bird"), ("glb", "bvh")
"""What is drawn into the video of a prediction, and what it is exported as."""
FOUND, GIVEN = "found", "given"
"""Where the camera path comes from: the prediction itself, or the truth, as if from another tool."""
HONEST = "a few CPU minutes teach where people are, how they stand, and roughly what their limbs do"


@options.command("quickstart")
@options.out("Folder that everything is written to.", default="quickstart")
@click.option("--steps", type=click.IntRange(min=1), default=STEPS, show_default=True, help="Training steps.")
@options.count(SEQUENCES, least=8, text="Number of sequences in the sample world.")
@options.jobs
@options.force
@options.json
def quickstart(out: Path, steps: int, count: int, jobs: int, force: bool, as_json: bool) -> None:
    """Run the whole pipeline on synthetic data: bodies, datasets, shards, training, score, videos, report.

    Finished steps are skipped and interrupted ones resumed; --force repeats everything. The data is synthetic and
    small: it shows that the system works, and what can and cannot be learnt in a few minutes on a CPU.

    \b
    Examples:
      trace quickstart
      trace quickstart --steps 2400 --out longer
      trace quickstart --json > result.json
    """
    from trace_data.files import exclusive

    from . import render

    open_folder(out, force=force)
    done: list[Done] = []
    with render.Display(brief=True) as display, exclusive(out / RECORDS):
        chain = Quickstart(out, steps=steps, sequences=count, jobs=jobs, progress=display)
        for step in run_steps(chain.steps(done), out, force=force):
            done.append(step)
            text = f"{step.outcome.text}  (done before)" if step.skipped else step.outcome.text
            display.step(step.name, text, step.seconds)
    facts = {step.name: {"seconds": step.seconds, "skipped": step.skipped, **step.outcome.facts} for step in done}
    if as_json:
        render.json_object({"folder": out, "report": out / "report.html", "synthetic": True, "steps": facts})
        return
    _show(facts["train"], facts["evaluate"])
    render.line(f"  {HONEST}: trace docs quickstart")
    render.line(f"\n  Report: {out / 'report.html'}     What next: trace docs quickstart")


def _show(trained: dict[str, Any], evaluated: dict[str, Any]) -> None:
    from trace_train.evaluate import MEASURES

    from . import render

    scores = evaluated["test"]["rows"]
    loss = f"{trained['first_loss']:.0f} → {trained['last_loss']:.0f}"
    rows = [("  train loss, last stage", "", loss, *("–" for _ in list(scores)[1:]))]
    for m in MEASURES:
        values = [row.get(m.key) for row in scores.values()]
        if any(value is not None for value in values):
            rows.append((f"  {m.name}", m.unit, *(render.number(value, m.digits, m.factor) for value in values)))
    render.table(("  held-out people (synthetic)", "", *scores), rows, numeric=tuple(scores))


class Quickstart:
    """The steps of the quickstart and their folders."""

    def __init__(self, out: Path, *, steps: int, sequences: int, jobs: int, progress: Progress) -> None:
        self.out, self.training_steps, self.sequences, self.jobs, self.progress = out, steps, sequences, jobs, progress
        self.world, self.packs, self.shards, self.run = out / "world", out / "packs", out / "shards", out / "run"
        self.videos, self.report = out / "videos", out / "report.html"

    def steps(self, done: Sequence[Done]) -> list[Step]:
        """All steps, in order. The last one reports those in `done`."""
        from trace_data.adapters import ADAPTERS

        size = {
            "sequences": self.sequences,
            "datasets": list(ADAPTERS),
            "videos": VIDEOS,
            "heights": [HEIGHT, VIDEO_HEIGHT],
        }
        shown = {"tracker": list(TRACKER), "drawn": list(DRAWN), "formats": list(FORMATS)}
        return [
            Step(name="sample world", settings=size, output=self.world, work=self.make_world),
            Step(name="body models", settings={}, output=self.packs, work=self.prepare),
            Step(name="verify", settings={"depth": "geometry"}, output=None, work=self.verify),
            Step(name="build-shards", settings={"shard_bytes": SHARD_BYTES}, output=self.shards, work=self.build),
            Step(name="train", settings={"steps": self.training_steps}, output=self.run, work=self.train),
            Step(name="evaluate", settings={}, output=None, work=self.evaluate),
            Step(name="predict", settings=shown, output=self.videos, work=self.predict),
            Step(name="report", settings={}, output=self.report, work=lambda: self.write_report(done)),
        ]

    def make_world(self) -> Outcome:
        """Make bodies and datasets."""
        summary = self._summary()
        facts = {name: getattr(summary, name) for name in ("sequences", "sequences_of", "frames", "people")}
        names = ", ".join(summary.sequences_of)
        held = f"{summary.frames:,} frames, {summary.people:,} bodies"
        text = f"{summary.sequences:,} sequences of {names}; {held}; {len(summary.videos)} videos"
        return Outcome(text=f"{text}  (synthetic)", facts=facts)

    def _summary(self) -> SampleSummary:
        """Summary of the sample world, which is made unless it exists."""
        from trace_data.sample_world.make import Parameters, make_sample, read_summary

        wanted = Parameters(sequences=self.sequences, height=HEIGHT, videos=VIDEOS, video_height=VIDEO_HEIGHT)
        return read_summary(self.world, wanted) or make_sample(
            self.world,
            sequences=self.sequences,
            height=HEIGHT,
            videos=VIDEOS,
            video_height=VIDEO_HEIGHT,
            jobs=self.jobs,
            progress=self.progress,
        )

    def prepare(self) -> Outcome:
        """Make packs of all body models."""
        from trace_data.assets.packs import prepare_smil, prepare_smpl

        source = [self.world / "body_models"]
        genders = ("male", "female", "neutral")
        reports = [
            *prepare_smpl(source, self.packs, genders=genders, progress=self.progress),
            *prepare_smil(source, self.packs, progress=self.progress),
        ]
        names = [file.name for report in reports for file in report.files if file.suffix == ".pth"]
        kinds = ", ".join(report.gender for report in reports)
        return Outcome(text=f"{kinds}  ({len(names)} packs)", facts={"packs": names})

    def verify(self) -> Outcome:
        """Verify the datasets."""
        from trace_data.errors import AnnotationError, quoted
        from trace_data.verify.datasets import verify_datasets

        world = self._summary()
        names, root = tuple(world.sequences_of), world.datasets
        report = verify_datasets(
            names, root, depth="geometry", packs=self.packs, jobs=self.jobs, progress=self.progress
        )
        if not report.ok:
            where = f"--root {quoted(root)} --packs {quoted(self.packs)}"
            command = f"trace verify-datasets {' '.join(names)} {where} --depth geometry"
            raise AnnotationError(
                "the sample world is not valid", where=self.world, hint=f"{command}  lists the problems"
            )
        worst = report.largest_reprojection_px
        error = "nothing to compare" if worst is None else f"largest reprojection error {worst:.2g} px"
        text = f"{len(names)} datasets: layout ✓  content ✓  geometry ✓  ({error})"
        facts = {"ok": report.ok, "largest_reprojection_px": worst}
        return Outcome(text=text, facts=facts)

    def build(self) -> Outcome:
        """Build shards of all datasets."""
        from trace_data.builder.build import build_shards

        world = self._summary()
        report = build_shards(
            tuple(world.sequences_of),
            world.datasets,
            self.shards,
            packs=self.packs,
            shard_bytes=SHARD_BYTES,
            jobs=self.jobs,
            progress=self.progress,
        )
        facts = report.to_json()
        speed = f"{facts['frames_per_second']:,.0f} frames/s"
        text = "; ".join((f"{facts['shards']} shards, {facts['bytes'] / 1e6:,.0f} MB, {speed}", *report.warnings))
        return Outcome(text=text, facts=facts)

    def train(self) -> Outcome:
        """Train the small network, from its last checkpoint if there is one."""
        from dataclasses import asdict

        from trace_train.config import load_config
        from trace_train.train import train
        from trace_train.training.threads import fit_threads
        from trace_train.weights.checkpoint import describe_run, finished

        if said := fit_threads(describe_run(self.run).threads if finished(self.run) else None):
            self.progress.log(said)
        steps = self.training_steps
        on_the_way = [f"pictures_every={max(1, steps // PICTURES)}", f"evaluation.every={max(1, steps // SCORES)}"]
        config = load_config("debug", [f"steps={steps}", *on_the_way, "evaluation.frames=200"])
        report = train(
            config, shards=self.shards, packs=self.packs, run=self.run, resume=self.run.exists(), progress=self.progress
        )
        facts = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(report).items()}
        text = (
            f"preset {config.preset}, {report.steps:,} steps   loss in stage {report.stage}"
            f" {report.first_loss:.1f} → {report.last_loss:.1f}"
            f"   data wait {100 * report.data_wait:.1f} %"
        )
        return Outcome(text=text, facts=facts)

    def evaluate(self) -> Outcome:
        """Score it on people and sequences that are not in the training split."""
        from trace_train.evaluate import MODEL, evaluate
        from trace_train.report.scores import best_constant

        from .render import number

        reports = {
            split: evaluate(self.run, shards=self.shards, packs=self.packs, split=split, progress=self.progress)
            for split in ("val", "test")
        }
        text = "held-out people: " + "   ".join(
            f"{name} {number(getattr(reports['test'].rows[MODEL], key), 0)} mm"
            f" (best constant {number(best_constant(reports['test'].to_json(), key), 0)})"
            for key, name in (("mpjpe", "MPJPE"), ("pa_mpjpe", "PA-MPJPE"))
        )
        return Outcome(text=text, facts={split: report.to_json() for split, report in reports.items()})

    def predict(self) -> Outcome:
        """Predict videos of people who are not in the training split, score them against the truth, and show them."""
        from dataclasses import asdict

        from trace_data.frames.video_writer import INSTALL, choose_encoder
        from trace_train.inference import Predictor

        from .render import number

        self.videos.mkdir(exist_ok=True)
        predictor = Predictor(self.run, packs=self.packs, config=TRACKER)
        facts, texts = {}, []
        for count, video in enumerate(self._summary().videos):
            cameras = (FOUND, GIVEN)[: 2 if count == 0 else 1]
            scores = {camera: self._score(predictor, video, camera) for camera in cameras}
            facts[video.stem] = {
                "scores": {camera: asdict(row) for camera, row in scores.items()},
                "files": self._show(video, self._result(video, FOUND)),
            }
            row = scores[FOUND]
            texts.append(
                f"{video.stem}: recall {number(row.recall, 0, 100)} %, IDF1 {number(row.idf1, 0, 100)} %, "
                f"{number(row.id_switches, 0)} id switches, W-MPJPE {number(row.w_mpjpe, 0)} mm"
                + (f" ({number(scores[GIVEN].w_mpjpe, 0)} with the camera given)" if GIVEN in scores else "")
            )
        if not choose_encoder().is_video:
            texts.append(f"without videos of the people, as there is no encoder here: {INSTALL}")
        return Outcome(text="; ".join(texts), facts=facts)

    def _score(self, predictor: Predictor, video: Path, camera: str) -> Scores:
        """Predict one video, unless that is done, and score it."""
        from trace_data.results.file import read_result
        from trace_train.config.world import WorldConfig
        from trace_train.evaluate import MODEL, evaluate_result
        from trace_train.inference import VideoOptions

        truth = video.with_suffix(".truth.npz")
        # the lens is known, as that of a phone is
        lens = VideoOptions(focal=float(read_result(truth).intrinsics[0, 0, 0]))
        world = WorldConfig(camera_file=truth) if camera == GIVEN else None
        prediction, out = predictor.prepare(video, lens, world=world), self._result(video, camera)
        if prediction.finished(out) is None:
            prediction.write(out, progress=self.progress)
        return evaluate_result(out, against=truth, packs=self.packs).rows[MODEL]

    def _show(self, video: Path, result: Path) -> dict[str, str]:
        """Make of a prediction what can be looked at: names of files in `videos`, by the words to link them with."""
        from trace_data.export.run import export_beside
        from trace_data.frames.footage import open_footage
        from trace_data.frames.video_writer import choose_encoder
        from trace_data.overlay.video import draw_result, free_place
        from trace_data.results.file import read_result
        from trace_data.view.view import Choice, view_result

        files = {}
        if choose_encoder().is_video:
            drawn = free_place(result, force=True)
            if not drawn.exists():
                found, footage = read_result(result), open_footage([video])
                draw_result(found, footage, drawn, DRAWN, packs=self.packs, progress=self.progress)
            files["video with the people on it"] = drawn.name
        for file in export_beside(result, FORMATS, self.packs, force=True):
            name = Path(file.path).name
            files[name.removeprefix(f"{video.stem}.")] = name
        page = view_result(result, None, Choice(video=video, embed_video=True, packs=self.packs)).page
        return {"video and world in 3D": page.name, **files}

    def _result(self, video: Path, camera: str) -> Path:
        return self.videos / f"{video.stem}{'' if camera == FOUND else '-camera-given'}.trace.npz"

    def write_report(self, done: Sequence[Done]) -> Outcome:
        """Write the run's report, with the duration of each step."""
        from trace_train.report.overview import StepTook, steps_section
        from trace_train.report.run import write_report
        from trace_train.report.videos import PredictedVideo, videos_section

        of = {step.name: step.outcome.facts for step in done}["predict"]
        videos = [
            PredictedVideo(
                video=video,
                result=self._result(video, FOUND),
                scores=of[video.stem]["scores"],
                files={words: self.videos / name for words, name in of[video.stem]["files"].items()},
            )
            for video in self._summary().videos
        ]
        took = [StepTook(name=step.name, seconds=step.seconds, text=step.outcome.text) for step in done]
        write_report(
            self.run,
            out=self.report,
            shards=self.shards,
            packs=self.packs,
            title="TRACE quickstart",
            notes=(f"{HONEST[0].upper()}{HONEST[1:]}.",),
            sections=(videos_section(videos, self.report, self.packs), steps_section(took)),
            progress=self.progress,
        )
        return Outcome(text=str(self.report), facts={})
