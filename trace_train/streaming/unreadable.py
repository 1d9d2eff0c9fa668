"""Handling of unreadable clips: stop the run or replace the clip (`data.on_error`)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from trace_data.errors import ShardError
from trace_data.schema.clip import ClipRef
from trace_data.shards.reader import ShardReader
from trace_data.shards.sampling.sampler import ClipSampler
from trace_train.config import DataConfig

UNREADABLE = (ShardError, OSError, cv2.error, ValueError, IndexError, ArithmeticError)
"""Errors caused by a damaged or missing file. A full cache or a wrong setting is not the clip's fault."""
ATTEMPTS = 5
"""Number of replacements to try. If none can be read, the fault is not in a single file, and the run stops."""
REACH = 4096
"""Maximum distance, in positions, of a replacement: it then lies in the same shuffle window or the next."""
COUNTED_FROM = 1000
"""Minimum clip count used for `data.skip_limit`: early in a run one bad clip would be a large share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedClip:
    """A clip that could not be read, as listed in `errors.jsonl`."""

    step: int
    """Step, counted from 1 as in the log."""
    clip: str
    """`dataset/split/sequence`."""
    start: int
    """Index of the first frame in the sequence."""
    stride: int
    length: int
    file: str
    reason: str


class UnreadableClips:
    """Counts and reports unreadable clips and decides when to stop. Thread-safe."""

    def __init__(self, reader: ShardReader, data: DataConfig, on_message: Callable[[SkippedClip], None]) -> None:
        self._reader, self._data = reader, data
        self.on_message = on_message
        """Called for every skipped clip."""
        self._lock = threading.Lock()
        self.read = 0
        """Clips read since the stream was created."""
        self.skipped = 0
        """Clips of these that were replaced."""

    def was_read(self) -> None:
        """Count a clip that was read."""
        with self._lock:
            self.read += 1

    def skip(self, step: int, ref: ClipRef, error: Exception, *, last: bool) -> None:
        """Skip a clip. Raises ShardError if the run must stop: `data.on_error` is `stop`, this was the `last` of
        `ATTEMPTS`, or too many clips were skipped."""
        entry = self._reader.index.sequences[ref.sequence]
        file = getattr(error, "where", None) or self._reader.store.name(self._reader.index.shards[entry.shard].file)
        reason = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
        place = f"{entry.key}, frames from {ref.start} on"
        if self._data.on_error == "stop":
            raise ShardError(
                f"a clip cannot be read ({place}): {reason}",
                where=file,
                hint=f"{self._reader.store.repair_hint}; --set data.on_error=skip  skips such clips",
            ) from error
        with self._lock:
            self.skipped += 1
            skipped, allowed = self.skipped, self._data.skip_limit * max(COUNTED_FROM, self.read + self.skipped)
            self.on_message(
                SkippedClip(
                    step=step + 1,
                    clip=entry.key,
                    start=ref.start,
                    stride=ref.stride,
                    length=ref.length,
                    file=file,
                    reason=reason,
                )
            )
        if last or skipped > allowed:
            why = f"nor can {ATTEMPTS} others" if last else f"{skipped:,} so far, more than data.skip_limit allows"
            raise ShardError(
                f"a clip cannot be read ({place}): {reason}; {why}", where=file, hint=self._reader.store.repair_hint
            ) from error


def another(sampler: ClipSampler, key: tuple[int, int], epoch: int, position: int, attempt: int) -> ClipRef:
    """The replacement of an unreadable clip; a pure function of its arguments.

    `key`: seed and stage number; `attempt` counts from 1.
    """
    reach = min(len(sampler) - 1, REACH)
    offset = int(np.random.default_rng([*key, epoch, position, attempt]).integers(1, reach + 1)) if reach else 0
    return sampler.clip(epoch, (position + offset) % len(sampler))
