"""Report section with the worst and best clips of a split: annotated and predicted bodies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.errors import AnnotationError
from trace_data.frames.image import decode, read_bytes
from trace_data.pages.html import Html, element, figure, image, joined, note
from trace_data.progress import SILENT, Progress
from trace_data.schema.clip import ClipRef
from trace_data.shards.reader import ShardReader
from trace_train.body.layer import BodyLayer
from trace_train.evaluation.accumulator import MISS_MM
from trace_train.evaluation.clip import ClipResult, evaluate_clip
from trace_train.network.flow import FlowProvider
from trace_train.network.model import TraceNetwork
from trace_train.preview.choose import Wanted, choose_clips
from trace_train.preview.predictions import CAPTION, Artist
from trace_train.preview.snapshots import row_of
from trace_train.report.folder import RunFolder
from trace_train.report.page import Section

LOOKED_AT = 60
"""Number of evenly spaced clips evaluated to find the worst and best."""
SHOWN = 4
"""Number of worst and of best clips shown."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gallery:
    """What is needed to draw the predictions of a checkpoint."""

    network: TraceNetwork
    """In evaluation mode."""
    flow: FlowProvider
    layers: Mapping[str, BodyLayer]
    """By gender."""
    reader: ShardReader
    packs: Path
    split: str
    threshold: float
    """Minimum score of a detection."""
    frames: int
    """Frames per clip; one for a network without temporal parts."""

    def evaluate_clip(self, ref: ClipRef, *, vertices: bool = False) -> ClipResult:
        """Evaluate a clip."""
        return evaluate_clip(
            self.network, self.flow, self.layers, self.reader, ref, threshold=self.threshold, vertices=vertices
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A clip and its error."""

    ref: ClipRef
    error: float
    """mm."""
    found: bool
    """Whether any annotated person was detected."""


def clips_section(gallery: Gallery, *, progress: Progress = SILENT) -> Section:
    """The worst and best of `LOOKED_AT` clips by mean error. Raises ShardError, AssetError."""
    wanted = Wanted(clips=LOOKED_AT, frames=gallery.frames, splits=(gallery.split,))
    refs = choose_clips(gallery.reader.index, wanted)
    progress.begin("report", len(refs) + 2 * SHOWN, "clips")
    scored = []
    for ref in refs:
        seen = gallery.evaluate_clip(ref)
        if not math.isnan(seen.error):
            scored.append(Scored(ref=ref, error=seen.error, found=bool(seen.pairs)))
        progress.advance()
    worst, best = extremes(scored)
    artist = Artist(gallery.reader, gallery.packs, longest=480)
    parts = [
        note(
            f"Of {len(refs)} clips of {gallery.frames} frame{'s' * (gallery.frames > 1)}, spread evenly over split "
            f"{gallery.split}: annotated bodies left, predicted ones right. A clip's error is the MPJPE of everybody "
            f"annotated; a person who is missed counts {MISS_MM:.0f} mm. {CAPTION}"
        )
    ]
    for title, chosen in (("worst", worst), ("best", best)):
        figures = []
        for ref in chosen:
            figures.append(_drawn(gallery, artist, gallery.evaluate_clip(ref, vertices=True)))
            progress.advance()
        parts += [element("h3", title), element("div", *figures, style="pictures")] if figures else []
    progress.end()
    return Section(title="Worst and best clips", body=joined(parts) if worst or best else Html())


def extremes(scored: Sequence[Scored]) -> tuple[list[ClipRef], list[ClipRef]]:
    """Up to `SHOWN` clips with the largest and with the smallest errors, each list from different sequences.

    No clip is in both lists. Clips without detected people are not among the best.
    """
    falling = sorted(scored, key=lambda clip: -clip.error)
    worst = _of_different_sequences([clip.ref for clip in falling])[:SHOWN]
    best = _of_different_sequences([clip.ref for clip in falling[::-1] if clip.found and clip.ref not in worst])
    return worst, best[:SHOWN]


def _of_different_sequences(refs: Sequence[ClipRef]) -> list[ClipRef]:
    first: dict[int, ClipRef] = {}
    for ref in refs:
        first.setdefault(ref.sequence, ref)
    return list(first.values())


def _drawn(gallery: Gallery, artist: Artist, seen: ClipResult) -> Html:
    """The clip's frame with the largest error, annotation and prediction side by side, with numbers."""
    frame = _largest(seen)
    (panels,) = artist.panels(seen, [frame])
    entry = gallery.reader.index.sequences[seen.ref.sequence]
    number = int(entry.clip_ids(seen.ref)[frame])
    side_by_side = np.concatenate([panels.annotated, panels.predicted], axis=1)
    people, found = len(seen.truth.frame), len(seen.found.frame)
    what = "people" if seen.ref.length == 1 else "person-frames"
    measured = (("MPJPE", seen.mpjpe), ("PA-MPJPE", seen.pa_mpjpe)) if seen.pairs else ()
    matched = "".join(f"{measure} {float(values.mean()):.0f} mm, " for measure, values in measured)
    words = f"error {seen.error:.0f} mm: {matched}{len(seen.pairs)} of {people} {what} found" + (
        f", {found - len(seen.pairs)} more where nobody is annotated" if found > len(seen.pairs) else ""
    )
    name = f"{entry.key}, frame {number}"
    return figure(joined([element("b", name), words]), image(side_by_side, f"{name}: {words}"), under=True)


def _largest(seen: ClipResult) -> int:
    """The frame with the largest error of matched people, or the middle frame."""
    if not seen.pairs:
        return seen.ref.length // 2
    row = seen.pairs[int(seen.mpjpe.argmax())][0]
    return int(seen.found.frame[row])


def learning_section(run: RunFolder) -> Section:
    """The first, middle and last picture drawn during training."""
    last = len(run.pictures) - 1
    chosen = [run.pictures[i] for i in sorted({0, last // 2, last})] if run.pictures else []
    read = [(step, sheet) for step, file in chosen if (sheet := _read(file)) is not None]
    if not read:
        return Section(title="What it learnt when", body=Html())
    parts = [_strip("annotated", row_of(read[-1][1], "annotated"))]
    for step, sheet in read:
        both = np.concatenate([row_of(sheet, "heat"), row_of(sheet, "predicted")])
        parts.append(_strip(f"step {step:,}", both))
    words = "The same frames over the steps: where the network sees the middle of a person, and the bodies it predicts."
    return Section(title="What it learnt when", body=joined([note(words), element("div", *parts, style="wide")]))


def _strip(name: str, picture: npt.NDArray[np.uint8]) -> Html:
    return figure(element("b", name), image(picture, f"predictions, {name}"))


def _read(file: Path) -> npt.NDArray[np.uint8] | None:
    """RGB; None where it is damaged."""
    with suppress(AnnotationError):
        return decode(read_bytes(file), file, rgb=True)
    return None
