"""Writes the report of a run from its folder and, if available, its shards."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trace_data.errors import ConfigError, TraceError, in_one_line
from trace_data.files import writable_folder
from trace_data.pages.html import note
from trace_data.progress import SILENT, Progress
from trace_data.schema.body import GENDERS
from trace_data.shards.entries import ShardIndex
from trace_data.shards.index import check_index
from trace_data.shards.reader import ShardReader
from trace_data.shards.storage.store import Store, as_store
from trace_train.build import body_layers
from trace_train.inference.source import open_source
from trace_train.report.clips import Gallery, clips_section, learning_section
from trace_train.report.curves import loss_section, machine_section
from trace_train.report.folder import RunFolder, State, read_run
from trace_train.report.overview import badges, facts, warnings_section
from trace_train.report.page import Page, Section, write_page
from trace_train.report.paths import paths_section
from trace_train.report.scores import headline, scores_section
from trace_train.report.settings import settings_section

PAGE = "report.html"
SYNTHETIC = (
    "Bodies, clothes, motion, cameras and frames on this page are synthetic. They show that the system works from end "
    "to end; they say nothing about accuracy on real video."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportResult:
    """Result of writing a report."""

    report: Path
    run: Path
    state: State
    step: int
    steps: int
    synthetic: bool
    clips: bool
    """Whether clips were drawn."""
    notes: tuple[str, ...]
    """Parts missing on the page, and why."""
    bytes: int


def write_report(
    run: Path,
    *,
    out: Path | None = None,
    shards: Path | str | Store | None = None,
    packs: Path | None = None,
    title: str | None = None,
    notes: Sequence[str] = (),
    sections: Sequence[Section] = (),
    progress: Progress = SILENT,
) -> ReportResult:
    """Write the page of a run, finished or not, to `out` (default: `report.html` in its folder).

    Clips are drawn from `shards` with the body models in `packs` (default: as recorded in the run); if that fails, the
    page says why. `title`, `notes` and `sections` are added to the page. Raises CheckpointError if there is no run,
    OutputError.
    """
    folder = read_run(run)
    target = out or run / PAGE
    writable_folder(target.parent)  # fails now rather than after drawing
    index, drawn, missing = _drawn(folder, shards, packs, progress)
    synthetic = bool(folder.data.get("synthetic")) or (index is not None and index.synthetic)
    lead = [*notes, *([SYNTHETIC] if synthetic else []), *([headline(folder)] if folder.evaluations else [])]
    page = Page(
        title=title or f"Run {folder.name}",
        badges=badges(folder, synthetic=synthetic),
        notes=[words for words in lead if words],
        facts=facts(folder, index),
        sections=[
            warnings_section(folder),
            scores_section(folder),
            learning_section(folder),
            *drawn,
            loss_section(folder),
            machine_section(folder),
            *sections,
            settings_section(folder),
        ],
    )
    return ReportResult(
        report=target,
        run=run,
        state=folder.state,
        step=folder.step,
        steps=folder.steps,
        synthetic=synthetic,
        clips=bool(drawn) and not missing,
        notes=missing,
        bytes=write_page(target, page),
    )


def report_or_why_not(run: Path, **settings: Any) -> str:
    """Write the page with `write_report` at the end of a run; return a message with its path or the error.

    Never raises: a failed report must not fail a finished run.
    """
    try:
        return f"report      {write_report(run, **settings).report}"
    except Exception as error:  # noqa: BLE001
        return f"no report ({in_one_line(error)});  trace report {run}  tries again"


def _drawn(
    run: RunFolder, shards: Path | str | Store | None, packs: Path | None, progress: Progress
) -> tuple[ShardIndex | None, list[Section], tuple[str, ...]]:
    """The index of the shards, the sections with clips, and notes if there are none."""
    index, title = None, "Worst and best clips"
    try:
        store = _store(run, shards)
        index = check_index(store)
        sections = _clips(run, ShardReader(store), _packs(run, packs), progress)
    except (TraceError, OSError, torch.OutOfMemoryError) as error:
        why = f"No clips are drawn: {textwrap.shorten(in_one_line(error), 400, placeholder=' …')}"
        return index, [Section(title=title, body=note(why))], (why,)
    return index, sections, ()


def _store(run: RunFolder, shards: Path | str | Store | None) -> Store:
    where = shards if shards is not None else run.data.get("shards")
    if where is None:
        raise ConfigError("this run does not say where its shards are", hint="--shards DIR  names them")
    if shards is None and "://" in str(where):
        raise ConfigError("its shards are behind a URL", where=str(where), hint="--shards URL  fetches what is drawn")
    return as_store(where)


def _packs(run: RunFolder, packs: Path | None) -> Path:
    where = packs or run.data.get("packs")
    if where is None:
        raise ConfigError("the folder of body models is not known", hint="--packs DIR  names it")
    return Path(where)


def _clips(run: RunFolder, reader: ShardReader, packs: Path, progress: Progress) -> list[Section]:
    source = open_source(run.path)
    network, config = source.network, source.config
    splits = reader.index.splits
    gallery = Gallery(
        network=network,
        flow=source.flow,
        layers=body_layers(packs, GENDERS, source.device),
        reader=reader,
        packs=packs,
        split=next((split for split in ("val", "test", "train") if split in splits), splits[0]),
        threshold=config.evaluation.threshold,
        frames=max(stage.frames for stage in config.stages) if network.temporal else 1,
    )
    sections = [clips_section(gallery, progress=progress)]
    return [*sections, paths_section(gallery)] if network.temporal else sections
