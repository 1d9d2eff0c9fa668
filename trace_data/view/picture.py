"""What stands beside the world: the video itself, or pictures of its frames where a browser would not play it."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np
import numpy.typing as npt

from trace_data.errors import ConfigError, FootageError, TraceError
from trace_data.files import is_there
from trace_data.frames.footage import open_footage
from trace_data.frames.video import open_capture
from trace_data.results.result import Result
from trace_data.view.scene import ShownVideo, Stills

PLAYED = frozenset({"avc1", "h264", "vp08", "vp80", "vp09", "vp90", "av01"})
"""FFmpeg's and the containers' names of the codecs that every browser of today plays."""
CONTAINERS = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/mp4", ".webm": "video/webm"}
LARGEST_EMBEDDED = 256 << 20
"""Bytes of a video inside a page."""
MOST_STILLS, WIDTH, QUALITY = 600, 480, 72
"""Pictures of a page, their width in px, and their JPEG quality: 10 MB at most."""


def find_video(result: Result, file: Path) -> Path | None:
    """The video that a result names: beside the result, in the working folder, or where it was predicted from.

    There it has to be that very video: results may come from elsewhere, and must not choose what a page shows.
    """
    video = result.about.get("video")
    video = video if isinstance(video, dict) else {}
    name = video.get("name")
    if not isinstance(name, str) or not name or Path(name).name != name:
        return None
    images = video.get("kind") == "images"  # of images in a list only the first is named, and it is not the video
    for folder in (file.parent, Path.cwd()):
        if is_there(folder / name, folder=images):
            return folder / name
    known = video.get("folder")
    if not isinstance(known, str) or not Path(known).is_absolute():
        return None
    place = Path(known, name)
    right = is_there(place, folder=images) and _is_the_one(place, video.get("fingerprint"))
    return place if right else None


def _is_the_one(video: Path, fingerprint: object) -> bool:
    try:
        return open_footage([video]).fingerprint() == fingerprint
    except (FootageError, OSError):
        return False


def is_played(video: Path) -> bool:
    """Whether browsers play a file: by its container and codec. Raises FootageError."""
    if video.is_dir() or video.suffix.lower() not in CONTAINERS:
        return False
    capture = open_capture(video)
    code = int(capture.get(cv2.CAP_PROP_FOURCC))
    capture.release()
    return code.to_bytes(4, "little").decode("latin-1").lower() in PLAYED


def film(video: Path, page: Path, *, embed: bool) -> ShownVideo:
    """The video as the page names it, or holds it. Raises ConfigError when it is too large to be held."""
    if not embed:
        return ShownVideo(source=address(video, page), name=video.name)
    size = video.stat().st_size
    if size > LARGEST_EMBEDDED:
        raise ConfigError(
            f"{video.name} has {size:,} bytes, a page holds at most {LARGEST_EMBEDDED:,}",
            where="--embed-video",
            hint="leave it beside the page, or add --embed-frames for small pictures of it",
        )
    kind = CONTAINERS[video.suffix.lower()]
    return ShownVideo(source=f"data:{kind};base64,{base64.b64encode(video.read_bytes()).decode()}", name=video.name)


def address(file: Path, page: Path) -> str:
    """The relative address of a file from a page."""
    relative = os.path.relpath(file.absolute(), page.absolute().parent)
    return quote(relative.encode(errors="surrogateescape"), safe="/")


def stills(video: Path, result: Result) -> Stills | None:
    """Small pictures of the result's frames; where there are too many, of evenly chosen ones. None if none fits.

    Raises FootageError.
    """
    wanted = spread(len(result.time))
    numbers = {int(result.frame_id[frame]): at for at, frame in enumerate(wanted)}
    found: dict[int, bytes] = {}
    for frame in open_footage([video]).frames():
        if frame.number in numbers and frame.pixels is not None:
            found[numbers[frame.number]] = jpeg(frame.pixels)
        if len(found) == len(numbers) or frame.number > max(numbers):
            break
    if not found:
        return None
    kept = np.array(sorted(found))
    return Stills(jpegs=[found[at] for at in kept], frame=nearest(wanted[kept], len(result.time)))


def spread(frames: int) -> npt.NDArray[np.int64]:
    """At most `MOST_STILLS` of so many frames, evenly."""
    return np.unique(np.linspace(0, frames - 1, min(frames, MOST_STILLS)).round().astype(np.int64))


def nearest(kept: npt.NDArray[np.int64], frames: int) -> npt.NDArray[np.int64]:
    """(T,) for each frame the picture of the last kept frame before it, or the first one."""
    return np.maximum(np.searchsorted(kept, np.arange(frames), side="right") - 1, 0)


def jpeg(pixels: npt.NDArray[np.uint8]) -> bytes:
    """A small picture of RGB pixels (H, W, 3)."""
    high, wide = pixels.shape[:2]
    if wide > WIDTH:
        pixels = np.asarray(
            cv2.resize(pixels, (WIDTH, max(1, round(high * WIDTH / wide))), interpolation=cv2.INTER_AREA), np.uint8
        )
    ok, encoded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not ok:
        raise TraceError(f"a picture of {wide} x {high} px cannot be encoded")
    return encoded.tobytes()
