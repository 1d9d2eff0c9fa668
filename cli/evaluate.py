"""`trace evaluate`: score a run, a checkpoint or a predicted video."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from . import options

if TYPE_CHECKING:
    from trace_data.progress import Progress
    from trace_train.evaluate import Scores, Truth
    from trace_train.protocols.protocol import Protocol
    from trace_train.protocols.published import PublishedRow

MOST_SHOWN = 6
"""Videos that a table has columns for."""


@options.command("evaluate")
@click.argument("runs", metavar="RUN|RESULT...", nargs=-1, type=options.Network())
@options.shards
@options.packs
@options.adapters
@click.option(
    "--protocol",
    metavar="NAME|FILE",
    default="trace-5d",
    show_default=True,
    help="What the numbers mean: a protocol by name, or a YAML file with one of your own.",
)
@click.option("--list-protocols", is_flag=True, help="Show all protocols side by side, and stop.")
@click.option(
    "--beside",
    metavar="SYSTEM,…",
    multiple=True,
    callback=options.words,
    help="Also show the published scores of these systems that follow the same protocol, as in wham,trace.",
)
@click.option("--split", type=click.Choice(options.SPLITS), help="Which split  [default: the protocol's, else test].")
@click.option(
    "--one-in",
    cls=options.Renamed,
    former="--every",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Score one in N windows of 3.3 s (100 frames at 30 fps); 1 scores whole sequences.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(min=0, max=1, max_open=True),
    help="Lowest score of a detection  [default: the run's own evaluation.threshold].",
)
@click.option(
    "--against",
    metavar="SHARDS|DATASET|TRUTH",
    multiple=True,
    help="RESULT: shards, a dataset's folder, or the exact result of a synthetic video; for several, one or one each.",
)
@click.option(
    "--sequence",
    "sequences",
    metavar="NAME",
    multiple=True,
    help="RESULT: its sequence in the shards or dataset; for several, one each  [default: their names].",
)
@click.option(
    "--join",
    type=click.Choice(("frame", "time")),
    default="frame",
    show_default=True,
    help="RESULT: match its frames with the annotation by id, or by time since the first frame.",
)
@options.json
def evaluate(
    runs: tuple[Path, ...],
    shards: Path | str | None,
    cache: Path | None,
    cache_size: str | None,
    packs: Path | None,
    adapters: tuple[str, ...],
    protocol: str,
    list_protocols: bool,
    beside: list[str],
    split: str | None,
    one_in: int,
    threshold: float | None,
    against: tuple[str, ...],
    sequences: tuple[str, ...],
    join: Literal["frame", "time"],
    as_json: bool,
) -> None:
    """Score RUN (its last checkpoint) or a checkpoint folder on a split, beside the best constant predictors.

    Shards and packs are the run's own where none are named. RUN may also be a folder of imported released weights with
    a whole network, a network to share, or demo, the small network that ships with this package.

    A RESULT (NAME.trace.npz) is scored against the annotation of its video: bodies, world, camera, and identities
    (MOTA, IDF1, HOTA, id switches). Several are scored singly and together. Body models are those of the prediction, if
    still there.

    \b
    Examples:
      trace evaluate ~/.trace/runs/2026-11-22-debug
      trace evaluate ~/.trace/runs/2026-11-22-debug --split val --one-in 4
      trace evaluate RUN/checkpoints/step-00000200 --json
      trace evaluate RUN --protocol emdb2-wham --beside wham,trace
      trace evaluate clip.trace.npz --against ~/.trace/shards --sequence downtown_arguing_00
      trace evaluate clip.trace.npz --against ~/datasets/3DPW --sequence downtown_arguing_00
      trace evaluate clip.trace.npz --against truth/clip.trace.npz
      trace evaluate results/*.trace.npz --against ~/.trace/shards
      trace evaluate --list-protocols
    """
    from trace_train.evaluate import evaluate as score
    from trace_train.protocols.loading import load_protocol
    from trace_train.protocols.published import beside as published_of
    from trace_train.training.threads import fit_threads

    from . import render

    if list_protocols:
        _list_protocols(as_json)
        return
    if not runs:
        raise click.UsageError("name a RUN or a RESULT, or ask for  --list-protocols")
    others = published_of(beside, load_protocol(protocol).name)  # fails now rather than after the evaluation
    files = [run for run in runs if run.is_file()]
    if len(files) == len(runs):
        truth = _Against(against, adapters, cache, cache_size)
        _results(files, truth, sequences, packs, join, protocol, others, as_json)
        return
    if files or len(runs) > 1:
        raise click.UsageError("several can be RESULTs, files; of RUNs, folders, one at a time is scored")
    run = runs[0]
    if against or sequences or adapters:
        raise click.UsageError(f"--against, --sequence and --adapter are for a RESULT, a file; {run} is a folder")
    shards, packs = _own_data(run, shards, packs)
    with render.Display() as progress:
        if said := fit_threads():
            progress.log(said)
        report = score(
            run,
            shards=options.store(shards, cache, cache_size, progress),
            packs=options.folder("packs", packs),
            split=split,
            protocol=protocol,
            every=one_in,
            threshold=threshold,
            progress=progress,
        )
    if as_json:
        render.json_object(_with_published(report, others))
        return
    compared = _of_published(report.sequences, report.rules)
    render.line(
        f"{report.split}: step {report.step:,}, {compared}, {report.frames:,} frames, {report.people:,} people,"
        f" {report.matched:,} matched{'  (synthetic)' if report.synthetic else ''}"
    )
    if report.advice:
        render.line(report.advice)
    _table(report.rows, others)
    for dataset, scores in report.datasets.items():
        render.line(f"\n{dataset}")
        _table(scores)
    _notes(others)
    render.line(f"\n{report.protocol}")


@dataclass(frozen=True)
class _Against:
    """What results are compared with, as it was typed."""

    places: Sequence[str]
    adapters: Sequence[str]
    cache: Path | None
    cache_size: str | None

    def open(self, results: Sequence[Path], progress: Progress) -> list[Truth]:
        """Exact results or folders of them, folders of datasets, and shards. Raises TraceError."""
        from trace_data.adapters.search import read_one, sequences_below
        from trace_data.shards.layout import INDEX_FILE
        from trace_train.evaluate import exact_result

        if not self.places:
            raise click.UsageError(
                "a RESULT needs  --against SHARDS|DATASET --sequence NAME,  or  --against TRUTH.trace.npz"
            )
        own = options.datasets((), self.adapters)
        found: list[Truth] = []
        for place in self.places:
            file = Path(place).expanduser()
            if any(exact_result(file, result) for result in results):
                found.append(file)
            elif file.is_dir() and not (file / INDEX_FILE).is_file() and (refs := sequences_below(file, own)):
                found.append(partial(read_one, file, refs))
            else:
                found.append(options.store(place, self.cache, self.cache_size, progress))
        return found


def _results(
    results: Sequence[Path],
    truth: _Against,
    sequences: Sequence[str],
    packs: Path | None,
    join: Literal["frame", "time"],
    protocol: str,
    others: Sequence[PublishedRow],
    as_json: bool,
) -> None:
    """Score predicted videos."""
    from trace_data.results.file import read_result
    from trace_train.evaluate import MODEL, evaluate_results

    from . import render

    with render.Display() as progress:
        pooled = evaluate_results(
            results,
            against=truth.open(results, progress),
            packs=[options.packs_of(read_result(file), packs) or options.folder("packs") for file in results],
            sequences=sequences or None,
            join=join,
            protocol=protocol,
        )
    first = pooled.videos[0]
    if as_json:
        render.json_object(_with_published(first if len(results) == 1 else pooled, others))
        return
    for scores in pooled.videos:
        render.line(
            f"{scores.result} against {scores.truth}: {scores.frames:,} of {scores.annotated_frames:,} frames,"
            f" {scores.people:,} people, {scores.matched:,} matched, {scores.identities:,} identities of"
            f" {scores.annotated_identities:,}{'  (synthetic)' if scores.synthetic else ''}"
        )
    if len(results) == 1:
        _table(first.rows, others)
    else:
        render.line(f"{_of_published(len(results), pooled.rules)}\n")
        shown = {_name(path, results): scores.rows[MODEL] for path, scores in zip(results, pooled.videos)}
        _table({**pooled.rows, **(shown if len(shown) <= MOST_SHOWN else {})}, others)
        if len(shown) > MOST_SHOWN:
            render.line(f"\nscores of each of the {len(shown):,} videos:  --json")
    _notes(others)
    render.line(f"\n{pooled.protocol}")


def _name(result: Path, results: Sequence[Path]) -> str:
    """The file's name, or its path where several have the same."""
    return result.name if [other.name for other in results].count(result.name) == 1 else str(result)


def _list_protocols(as_json: bool) -> None:
    """Show all protocols side by side."""
    from trace_train.evaluation.protocol import heading
    from trace_train.protocols.loading import load_protocol, protocols

    from . import render

    found = [load_protocol(name) for name in protocols()]
    if as_json:
        render.json_object({one.name: one.model_dump(mode="json") for one in found})
        return
    titles = ("protocol", "data", "joints", "root", "PVE", "gaps", "rate", "chunks", "path of", "misses", "mean over")
    render.table(titles, [(one.name, *_rules(one)) for one in found])
    for one in found:
        render.line("\n" + "\n".join(heading(one)))


def _rules(one: Protocol) -> list[str]:
    """What tells protocols apart; – where a rule concerns none of the measures of this one."""
    from trace_train.evaluation.measures import OF_BODIES, OF_CHUNKS, OF_LABELS, OF_PATHS, OF_TIME

    data, bodies, labelled, time, world = one.data, one.bodies, one.labelled, one.time, one.world
    joints, root = str(bodies.joints), str(bodies.root)
    if not one.defines(*OF_BODIES, *OF_CHUNKS) and one.defines(*OF_LABELS):
        joints, root = f"{len(labelled.joints or ()) or 'all'} labelled, bones {labelled.bones}", labelled.root
    chunk = f"{world.chunk:g} frames, {world.tail}" if world.unit == "frames" else f"{world.chunk / 30:.3g} s"
    cells = (
        (joints, (*OF_BODIES, *OF_CHUNKS, *OF_LABELS)),
        (root, ("mpjpe", "pve", "acceleration", "acceleration_per_frame", *OF_LABELS)),
        (bodies.surface, ("pve",)),
        (time.gaps, OF_TIME),
        ("own" if time.rate is None else f"{time.rate:g}", OF_TIME),
        (chunk, OF_CHUNKS),
        (world.point, OF_PATHS),
    )
    what = " ".join(filter(None, (data.subset or data.dataset or "any", data.split, data.camera)))
    return [what, *(text if one.defines(*of) else "–" for text, of in cells), one.misses, one.mean]


def _of_published(sequences: int, rules: Mapping[str, Any]) -> str:
    """How many of the published sequences these are."""
    from trace_data.progress import counted

    count = rules["data"]["count"]
    return counted(sequences, "sequence") + (
        f" of the {count:,} published ones" if count not in (None, sequences) else ""
    )


def _with_published(scores: Any, others: Sequence[PublishedRow]) -> Any:
    """Scores as an object, with the published rows where some were asked for."""
    if not others:
        return scores
    return scores.to_json() | {"published": [row.model_dump(mode="json") for row in others]}


def _notes(others: Sequence[PublishedRow]) -> None:
    """Where the published scores come from."""
    from . import render

    for row in others:
        said = f"people {row.people}" if row.people == "given" else f"people: {row.people}"
        render.line(f"{row.title}: {row.source}; {said}" + (f"; {row.note}" if row.note else ""))


def _own_data(run: Path, shards: Path | str | None, packs: Path | None) -> tuple[Path | str | None, Path | None]:
    """Shards and packs as given, else those that the run was trained on; only a run has any."""
    from trace_train.weights.checkpoint import DESCRIPTION, describe_run
    from trace_train.weights.folder import DESCRIPTION as IMPORTED
    from trace_train.weights.shared import DESCRIPTION as SHARED
    from trace_train.weights.shared import resolve

    others = (resolve(run) / IMPORTED, resolve(run) / SHARED)
    if any(file.is_file() for file in others) or (shards is not None and packs is not None):
        return shards, packs
    own = describe_run(run.resolve().parent.parent if (run / DESCRIPTION).exists() else run)
    command = f"trace evaluate {shlex.quote(str(run))}"
    return (
        shards if shards is not None else options.still_there(own.shards, "shards", command),
        packs if packs is not None else Path(options.still_there(str(own.packs), "packs", command)),
    )


def _table(scores: Mapping[str, Scores], others: Sequence[PublishedRow] = ()) -> None:
    """One row a measure, by group; measures that nobody has are left out, as is who has none. Published scores come
    last."""
    from trace_train.evaluate import MEASURES

    from . import render

    scores = {name: row for name, row in scores.items() if any(getattr(row, m.key) is not None for m in MEASURES)}

    rows = []
    for group in dict.fromkeys(measure.group for measure in MEASURES):
        title = group
        for m in MEASURES:
            values = [getattr(row, m.key) for row in scores.values()]
            theirs = [row.scores.get(m.key) for row in others]
            if m.group == group and any(value is not None for value in [*values, *theirs]):
                shown = [render.number(value, m.digits, m.factor) for value in values]
                shown += [render.number(value, m.digits) for value in theirs]
                rows.append((title, m.name, m.unit, *shown))
                title = ""
    names = (*scores, *(row.title for row in others))
    render.table(("", "measure", "unit", *names), rows, numeric=names)
