"""Writes a result while a video is being processed: in parts, in flat memory, and so that an interrupted run goes on.

`NAME.trace.npz.partial/` beside the result holds `start.json` (what was known at the beginning), `part-000000.npz` and
so on (the rows and frames since the part before), `state-….bin` (what the caller needs to go on after the last part),
`lock`, and `reserve`, whose room the last part gets when the disk is full. Parts are written whole or not at all, the
result appears by one rename, and then the folder is removed.
"""

from __future__ import annotations

import errno
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.errors import OutputError, ResultError, quoted
from trace_data.files import atomic_write, exclusive, write_json
from trace_data.results.assembly import TAKEN, Body, assemble
from trace_data.results.file import START, cannot_write, npy, partial_of, write_members
from trace_data.results.result import ASSUMED_UP
from trace_data.text_files import content_of, parse_json

Floats = npt.NDArray[np.floating[Any]]

PART_FRAMES = 300
"""Frames after which a part is due."""
RESERVE = 32 << 20
"""Bytes that are held on the disk at least, so that what waits in memory can be written when the disk is full: twice
those of the last part with its state, where that is more. Parts grow slowly."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORMAT, _VERSION = "trace-result-parts", 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """N rows in any order. A later row of the same person in the same frame replaces the earlier one."""

    person: npt.NDArray[np.integer[Any]]
    """(N,) identities, from 1."""
    frame: npt.NDArray[np.integer[Any]]
    """(N,) numbers of frames that were added, counted from 0; they may lie in the past."""
    state: npt.NDArray[np.integer[Any]]
    """(N,) SEEN, INHERITED or PREDICTED."""
    score: Floats
    """(N,) detection score; 0 where nothing was detected."""
    pose: Floats
    """(N, 24, 3) axis-angle; the root in the frame's camera."""
    hips_in_camera: Floats
    """(N, 3) m, hip midpoint in the frame's camera."""
    betas: Floats
    """(N, 10) of this row."""
    box: Floats
    """(N, 4) left, top, width, height, px."""
    extra: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    """(N, …) columns by name that the result does not hold, for the fusion of the camera: always the same names."""


_TYPES = {"person": "<i4", "frame": "<i4", "state": "|u1", "score": "<f4", "pose": "<f4", "hips_in_camera": "<f4",
          "betas": "<f4", "box": "<f4"}  # fmt: skip
_SHAPES = {"pose": (24, 3), "hips_in_camera": (3,), "betas": (10,), "box": (4,)}


class ResultWriter:
    """Collects the frames and rows of one video and makes its result of them.

    ```
    with ResultWriter.resume(path) or ResultWriter(path, about=..., image_size=(w, h), intrinsics=k) as writer:
        for frame in video[writer.frames:]:
            writer.add_frame(frame.time, frame.number)
            writer.add_rows(Rows(...))
            if writer.part_is_due:
                writer.commit(state)
        writer.commit(state)
        writer.finish(camera_from_world=..., camera_observed=..., body=...)
    ```

    Leaving the block without `finish` keeps the committed parts, and `resume` goes on after them. Raises OutputError
    where the disk is full or another process writes the same result. On a disk that gets full, `commit` still writes
    its part, into the room held for it, and raises then.
    """

    def __init__(
        self,
        path: Path,
        *,
        about: Mapping[str, Any],
        image_size: tuple[int, int],
        intrinsics: Floats | None,
        force: bool = False,
    ) -> None:
        """Begin anew. `about`: facts of the run, JSON; `image_size`: width and height; `intrinsics` (3, 3) px, or None
        if each frame brings its own. `force`: replace a result, or an unfinished one. Raises OutputError otherwise.
        """
        if path.exists() and not force:
            raise OutputError("exists already", where=path, hint="add --force to replace it, or give another --out")
        if (partial_of(path) / START).exists() and not force:
            raise OutputError(
                "an unfinished prediction of this name stands beside it",
                where=path,
                hint=f"go on with the command that began it, add --force, or  rm -r {quoted(partial_of(path))}",
            )
        lens = None if intrinsics is None else np.asarray(intrinsics, np.float64).reshape(3, 3)
        self._open(path, about, image_size, lens)
        start = {"format": _FORMAT, "version": _VERSION, "about": about, "image_size": list(image_size)}
        try:
            self._clear(keep=set())
            self._hold(RESERVE)
            write_json(self.folder / START, {**start, "intrinsics": None if lens is None else lens.tolist()})
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise cannot_write(error, path) from error
            raise

    @classmethod
    def resume(cls, path: Path) -> ResultWriter | None:
        """The writer of an interrupted run after its last part, or None if nothing was begun.

        `about` is the one that it began with, for comparison. Raises ResultError if the beginning is damaged,
        OutputError if another process is writing it.
        """
        if not (partial_of(path) / START).is_file():
            return None
        file = partial_of(path) / START
        start = parse_json(content_of(file, error=ResultError), where=file, error=ResultError)
        if not isinstance(start, dict) or (start.get("format"), start.get("version")) != (_FORMAT, _VERSION):
            raise ResultError(
                "was begun by another version", where=file, hint=f"rm -r {quoted(file.parent)}  and begin anew"
            )
        writer = cls.__new__(cls)
        lens = None if start["intrinsics"] is None else np.array(start["intrinsics"], np.float64)
        width, height = start["image_size"]
        writer._open(path, start["about"], (width, height), lens)
        try:
            writer._take_parts()
            writer._hold(RESERVE)
        except BaseException as error:
            writer.close()
            if isinstance(error, OSError):
                raise writer._cannot_write(error) from error
            raise
        return writer

    def _open(
        self,
        path: Path,
        about: Mapping[str, Any],
        image_size: tuple[int, int],
        intrinsics: npt.NDArray[np.float64] | None,
    ) -> None:
        self.path, self.folder = path, partial_of(path)
        self.about, self.image_size, self._intrinsics = about, image_size, intrinsics
        self.frames = 0
        """Frames added so far; after `resume`, those of the finished parts: the video goes on with this one."""
        self._parts = self._committed = 0
        self._frames: dict[str, list[npt.NDArray[Any]]] = {}
        self._rows: dict[str, list[npt.NDArray[Any]]] = {}
        self._lock = ExitStack()
        try:
            if self.folder.is_file():  # of a killed `write_result`
                self.folder.unlink()
            self._lock.enter_context(exclusive(self.folder))
        except OSError as error:
            raise cannot_write(error, path) from error

    def __enter__(self) -> ResultWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give up the lock. What was not committed is lost."""
        self._lock.close()

    @property
    def part_is_due(self) -> bool:
        """Whether so many frames wait in memory that a part should be written."""
        return self.frames - self._committed >= PART_FRAMES

    @property
    def begun(self) -> bool:
        """Whether any part is written."""
        return self._parts > 0

    @property
    def state(self) -> bytes | None:
        """What was given to the last `commit`."""
        file = self._state_file(self._parts - 1)
        return file.read_bytes() if file.is_file() else None

    def add_frame(self, time: float, frame_id: int, intrinsics: Floats | None = None) -> None:
        """The next frame, also one without people. `time`: s; `frame_id`: its index in the source."""
        found = {"time": np.array([time], np.float64), "frame_id": np.array([frame_id], np.int64)}
        if self._intrinsics is None:
            if intrinsics is None:
                raise ValueError("no intrinsics were given at the beginning, so every frame has to bring its own")
            found["intrinsics"] = np.asarray(intrinsics, np.float64).reshape(1, 3, 3)
        _append(self._frames, found)
        self.frames += 1

    def add_rows(self, rows: Rows) -> None:
        """Rows of this or past frames. Raises ResultError for numbers that are not finite, ValueError for misuse."""
        count = len(rows.person)
        if not count:
            return
        found = {name: np.asarray(getattr(rows, name)).astype(dtype) for name, dtype in _TYPES.items()}
        for name, values in found.items():
            if values.shape != (count, *_SHAPES.get(name, ())):
                raise ValueError(f"{name} has shape {values.shape}, expected {(count, *_SHAPES.get(name, ()))}")
            if values.dtype.kind == "f" and name != "box" and not np.isfinite(values).all():
                row = int(np.argwhere(~np.isfinite(values))[0][0])
                raise ResultError(
                    f"{name} of person {rows.person[row]} in frame {rows.frame[row]} is not finite",
                    where=self.path,
                    hint="the network's weights may be damaged:  trace doctor",
                )
        if rows.frame.min() < 0 or rows.frame.max() >= self.frames or rows.person.min() < 1:
            raise ValueError(f"expected rows of the {self.frames} frames so far, and people from 1")
        extra = {name: np.array(values) for name, values in rows.extra.items()}
        if wrong := [name for name, values in extra.items() if len(values) != count or name in found]:
            raise ValueError(f"extra columns {wrong} have another length or a name that is taken")
        _append(self._rows, found | {"root_in_camera": found["pose"][:, 0]} | extra)

    def commit(self, state: bytes | None = None) -> None:
        """Write what was added since the last part. `state`: what the caller needs to go on from here.

        Raises OutputError, which says what was kept: where the disk is full, mostly this part too.
        """
        if not self._frames and not self._rows and state is None:
            return
        arrays = {name: np.concatenate(pieces) for name, pieces in (self._frames | self._rows).items()}
        full: OSError | None = None
        try:
            self._write_part(arrays, state)
        except OSError as error:
            if error.errno not in _FULL:
                raise self._cannot_write(error) from error
            full = error
            try:
                self._reserve.unlink(missing_ok=True)
                self._write_part(arrays, state)
            except OSError as again:
                raise self._cannot_write(again) from again
        self._parts, self._committed = self._parts + 1, self.frames
        self._frames, self._rows = {}, {}
        try:
            if full is not None:
                raise full
            self._hold(2 * (sum(array.nbytes for array in arrays.values()) + len(state or b"")))
        except OSError as error:
            raise self._cannot_write(error) from error

    def _write_part(self, arrays: Mapping[str, npt.NDArray[Any]], state: bytes | None) -> None:
        if state is not None:
            with atomic_write(self._state_file(self._parts)) as partial:
                partial.write_bytes(state)
        with atomic_write(self._part_file(self._parts)) as partial:
            write_members(partial, {name: npy(array) for name, array in arrays.items()})
        self._state_file(self._parts - 1).unlink(missing_ok=True)

    def _hold(self, size: int) -> None:
        """Take room on the disk, unless as much is held already. Raises OSError."""
        with self._reserve.open("ab") as stream:
            missing = size - stream.tell()
            if missing > 0 and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(stream.fileno(), stream.tell(), missing)
            elif missing > 0:
                stream.write(bytes(missing))

    def _cannot_write(self, error: OSError) -> OutputError:
        """The error, with what an unfinished result keeps."""
        said = cannot_write(error, self.path)
        if not self._parts:
            return said
        return OutputError(
            f"{said.message}; {self._committed:,} frames are kept",
            where=self.path,
            hint="free space; the same command goes on from there",
        )

    def columns(self, *names: str) -> dict[str, npt.NDArray[Any]]:
        """Columns of all committed rows, by name, in the order of the result: by person, then frame.

        Names are those of `Rows`, of its `extra`, and `root_in_camera` (N, 3). `person` holds identities.
        """
        source, person, frame = self._order()
        found: dict[str, npt.NDArray[Any]] = {"person": person, "frame": frame}
        for name in set(names) - set(found):
            pieces = [part[name] for part in self._parts_with_rows(name)]
            found[name] = np.concatenate(pieces)[source] if pieces else np.zeros(0)
        return {name: found[name] for name in names}

    def times(self) -> npt.NDArray[np.float64]:
        """(T,) seconds of all committed frames."""
        return self._of_frames("time", np.float64, ())

    def finish(
        self,
        *,
        camera_from_world: Floats,
        camera_observed: npt.NDArray[np.bool_],
        body: Body,
        up: Floats | tuple[float, float, float] = ASSUMED_UP,
        about: Mapping[str, Any] | None = None,
        names: Mapping[int, str] | None = None,
        world_residual: Floats | None = None,
        keep_betas: bool = True,
    ) -> Path:
        """Commit, put the rows in order, place every body in the world, and write the result.

        `camera_from_world` (T, 4, 4), `camera_observed` (T,) and `up` (3,) as in `Result`. `body` poses people with
        their one shape, the score-weighted median of their rows. `about` replaces the first one; `names` of identities;
        `world_residual` (N,) in the order of `columns`. Raises ResultError if the result contradicts itself,
        OutputError; the parts then stay.
        """
        self.commit()
        self._reserve.unlink(missing_ok=True)  # all is written, and the result needs room
        source, identity, frame = self._order()
        people, row_person = np.unique(identity, return_inverse=True)
        lens = self._of_frames("intrinsics", np.float64, (3, 3)) if self._intrinsics is None else self._intrinsics[None]
        known = names or {}
        fixed = {
            "time": self.times(),
            "frame_id": self._of_frames("frame_id", np.int64, ()),
            "image_size": np.array(self.image_size, np.int32),
            "intrinsics": lens,
            "camera_from_world": np.asarray(camera_from_world, np.float64),
            "camera_observed": np.asarray(camera_observed, np.bool_),
            "up": np.asarray(up, np.float64),
            "person": people.astype(np.int32),
            "person_name": np.array([known.get(int(one), "") for one in people], dtype=np.str_),
            "row_person": row_person.astype(np.int32),
            "row_frame": frame,
        }
        whole = self.folder / "result.npz"
        try:
            assemble(
                whole,
                about=self.about if about is None else about,
                fixed=fixed,
                source=source,
                parts=self._parts_with_rows(*TAKEN),
                body=body,
                world_residual=world_residual,
                keep_betas=keep_betas,
            )
            with whole.open("rb") as stream:
                os.fsync(stream.fileno())  # a rename may reach the disk before the content does
            whole.replace(self.path)
        except ResultError as error:
            raise ResultError(error.message, where=self.path, hint=error.hint) from error
        except OSError as error:
            raise self._cannot_write(error) from error
        with suppress(OSError):
            (self.folder / START).unlink()  # first: a folder without it is no unfinished run
            shutil.rmtree(self.folder)
        self.close()
        return self.path

    def _order(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Of the committed rows: where the rows of the result stand among all, and their identities and frames."""
        parts = [{"person": np.zeros(0, np.int32), "frame": np.zeros(0, np.int32)}]
        parts += self._parts_with_rows("person", "frame")
        person, frame = (np.concatenate([part[name] for part in parts]) for name in ("person", "frame"))
        order = np.lexsort((np.arange(len(person)), frame, person))
        person, frame = person[order], frame[order]
        last = np.ones(len(order), bool)
        last[:-1] = (np.diff(person) != 0) | (np.diff(frame) != 0)
        return order[last], person[last], frame[last]

    def _parts_with_rows(self, *names: str) -> Iterator[dict[str, npt.NDArray[Any]]]:
        """Some columns of every part that has rows."""
        for number in range(self._parts):
            with np.load(self._part_file(number), allow_pickle=False) as part:
                if "person" in part.files:
                    yield {name: part[name] for name in names}

    def _of_frames(self, name: str, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        pieces: list[npt.NDArray[Any]] = [np.zeros((0, *shape), dtype)]
        for number in range(self._parts):
            with np.load(self._part_file(number), allow_pickle=False) as part:
                if name in part.files:
                    pieces.append(part[name])
        return np.concatenate(pieces)

    def _take_parts(self) -> None:
        """Count the finished parts and their frames, and remove what a killed process left behind them."""
        try:
            while self._part_file(self._parts).is_file():
                with zipfile.ZipFile(self._part_file(self._parts)) as part:
                    if (damaged := part.testzip()) is not None:
                        raise ValueError(damaged)
                self._parts += 1
            self.frames = self._committed = len(self.times())
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ResultError(
                f"is damaged ({error})",
                where=self._part_file(self._parts),
                hint=f"rm -r {quoted(self.folder)}  and begin anew",
            ) from error
        kept = {self.folder / START, self._state_file(self._parts - 1)}
        self._clear(keep=kept | {self._part_file(number) for number in range(self._parts)})

    def _clear(self, keep: set[Path]) -> None:
        """Remove what the folder holds, except the lock."""
        for file in set(self.folder.iterdir()) - keep - {self.folder / "lock"}:
            shutil.rmtree(file) if file.is_dir() else file.unlink()

    @property
    def _reserve(self) -> Path:
        return self.folder / "reserve"

    def _part_file(self, number: int) -> Path:
        return self.folder / f"part-{number:06d}.npz"

    def _state_file(self, number: int) -> Path:
        return self.folder / f"state-{number:06d}.bin"


def _append(columns: dict[str, list[npt.NDArray[Any]]], found: Mapping[str, npt.NDArray[Any]]) -> None:
    if columns and set(columns) != set(found):
        raise ValueError(f"expected the columns {sorted(columns)} again, found {sorted(found)}")
    for name, values in found.items():
        columns.setdefault(name, []).append(values)
