"""Writes the page of a result or of a sequence: finds the video and the surfaces, and says what was found."""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote

from trace_data.errors import AssetError, ConfigError, FootageError, OutputError, ResultError, in_one_line, quoted
from trace_data.export.mesh import Meshes
from trace_data.export.run import LICENCE, BodyChoice, base_name, meshes_for
from trace_data.files import atomic_write
from trace_data.results.file import SUFFIX, is_result, read_result
from trace_data.results.result import Result
from trace_data.results.scene import SceneOptions, arrange, cut
from trace_data.schema.sequence_patterns import the_one
from trace_data.shards.reader import ShardReader
from trace_data.shards.storage.remote import RemoteFolder
from trace_data.shards.storage.url import shown
from trace_data.view.from_result import meshes_or_reason, scene_of
from trace_data.view.from_shards import sequence_scene
from trace_data.view.page import write_page
from trace_data.view.picture import address, film, find_video, is_played, stills
from trace_data.view.scene import ShownBody, ShownScene, ShownVideo, Stills

LARGEST_RESULT = 1 << 30
"""Bytes of a result that are fetched at most."""
ADDRESS = f"the address of a result ends in NAME{SUFFIX}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """How a page is made; `--help` of the command says what each means."""

    video: Path | None = None
    embed_video: bool = False
    frames: bool = False
    body: BodyChoice = "model"
    scene: SceneOptions = field(default_factory=lambda: SceneOptions(smooth="offline"))
    """How a result is arranged; its Y axis is always up."""
    packs: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewed:
    """A written page."""

    page: Path
    bytes: int
    title: str
    lead: str
    notes: tuple[str, ...]
    picture: str
    """Where the picture is."""
    licence: str


def fetched(url: str, folder: Path) -> Path:
    """The result file behind a URL, copied into `folder`. Raises ShardError where the server does not give it,
    ResultError if it is none, OutputError if a file of this name is there.
    """
    place, mark, query = url.partition("?")
    parent, _, name = place.rpartition("/")
    file = folder / unquote(name)
    if not name or file.parent != folder:
        raise ConfigError("names no file", where=shown(url), hint=ADDRESS)
    if file.exists():
        raise OutputError(
            "a file of this name is here already", where=file, hint=f"trace view {quoted(file)}  shows it, or remove it"
        )
    remote = RemoteFolder(f"{parent}{mark}{query}")
    content = remote.patiently(lambda: remote.read(name, most=LARGEST_RESULT))
    try:
        with atomic_write(file) as partial:
            partial.write_bytes(content)
            if not is_result(partial):
                raise ResultError("is no result", where=shown(url), hint=ADDRESS)
    except OSError as error:
        raise OutputError(
            f"cannot be written: {error.strerror or error}",
            where=file,
            hint="free some space, or write to another disk",
        ) from error
    return file


def view_result(file: Path, page: Path | None, choice: Choice) -> Viewed:
    """Write the page of a result, beside it unless `page` says where.

    Raises ResultError, ConfigError, FootageError for a video that was named, OutputError.
    """
    result = read_result(file)
    base = base_name(file)
    page = _html(page or file.absolute().parent / f"{base}.html")
    picture, said, notes = _picture(result, file, page, choice)
    scene, licence = result_scene(result, base, choice, picture=picture, notes=notes, links=_beside(file, base, page))
    return _written(page, scene, said, licence)


def result_scene(
    result: Result,
    title: str,
    choice: Choice,
    *,
    picture: ShownVideo | Stills | None = None,
    notes: tuple[str, ...] = (),
    links: tuple[tuple[str, str], ...] = (),
) -> tuple[ShownScene, str]:
    """The scene of a result, upright, and what is to be said of its licence."""
    arranged = arrange(result, replace(choice.scene, up="y"))
    meshes, why = _meshes(arranged, choice)
    scene = scene_of(arranged, title, meshes, picture=picture, notes=(*notes, *([why] if why else [])), links=links)
    return scene, LICENCE["parameters" if meshes is None else "free" if meshes.free else "mesh"]


def _meshes(result: Result, choice: Choice) -> tuple[Meshes | None, str]:
    if not len(result.row_person):
        return None, ""
    try:
        meshes = meshes_for(result, choice.body, choice.packs)
    except AssetError as error:
        return None, f"People are shown as skeletons: {in_one_line(error)}."
    return meshes_or_reason(result, meshes)


def _html(page: Path) -> Path:
    if page.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{page.name} is not the name of a page", where="--page", hint="name it .html")
    return page


def _picture(
    result: Result, file: Path, page: Path, choice: Choice
) -> tuple[ShownVideo | Stills | None, str, tuple[str, ...]]:
    """The picture, where it is, and what the reader should know of it."""
    video = choice.video or find_video(result, file)
    if video is None:
        named = result.about.get("video")
        name = named.get("name") if isinstance(named, dict) else None
        return None, "none", (f"The video {name or ''} was not found beside the result: trace view --video FILE.",)
    try:
        if not choice.frames and is_played(video):
            where = "inside the page" if choice.embed_video else f"{video}, which has to stay where it is"
            return film(video, page, embed=choice.embed_video), where, ()
        pictures = stills(video, cut(result, choice.scene.start, choice.scene.end))
    except (FootageError, OSError) as error:
        if choice.video is not None and isinstance(error, FootageError):
            raise
        return None, "none", (f"The video {video.name} cannot be read: {error}.",)
    if pictures is None:
        return None, "none", (f"{video.name} has none of the result's frames.",)
    why = "" if choice.frames or video.is_dir() else "; browsers do not play this video"
    return pictures, f"{len(pictures.jpegs):,} small pictures of frames inside the page{why}", ()


def _beside(file: Path, base: str, page: Path) -> tuple[tuple[str, str], ...]:
    """The result, and what was exported from it or drawn of it into its folder."""
    folder = file.absolute().parent
    found = (path for path in sorted(folder.glob(f"{glob.escape(base)}.*")) if path.is_file())
    mine = [path for path in found if path != page.absolute() and path.suffix not in (".html", ".partial")]
    return tuple((path.name, address(path, page)) for path in mine)


def _written(page: Path, scene: ShownScene, picture: str, licence: str) -> Viewed:
    size = write_page(page, scene)
    return Viewed(
        page=page, bytes=size, title=scene.title, lead=scene.lead, notes=tuple(scene.notes), picture=picture,
        licence=licence,
    )  # fmt: skip


def view_sequence(folder: Path, name: str | None, page: Path | None, choice: Choice) -> Viewed:
    """Write the page of an annotated sequence, to the working folder unless `page` says where.

    Raises ShardError; ConfigError when no sequence, or several, fit the name; OutputError.
    """
    scene = scene_of_sequence(folder, name, choice)
    plain = re.sub(r"[^.\w-]+", "-", scene.title)
    page = _html(page or Path(f"{plain}.html"))
    meshes = any(isinstance(person.shape, ShownBody) and person.shape.mesh for person in scene.people)
    pictures = scene.picture.jpegs if isinstance(scene.picture, Stills) else ()
    said = f"{len(pictures):,} small pictures of frames inside the page" if pictures else "none"
    return _written(page, scene, said, LICENCE["mesh" if meshes else "parameters"])


def scene_of_sequence(folder: Path, name: str | None, choice: Choice) -> ShownScene:
    """The scene of the one sequence that a name or pattern means. Raises ShardError, ConfigError."""
    reader = ShardReader(folder)
    return sequence_scene(reader, the_one(reader.index.sequences, name, where=folder), choice.packs)


def scene_of_file(file: Path, choice: Choice) -> ShownScene:
    """The scene of a result without a picture. Raises ResultError."""
    return result_scene(read_result(file), base_name(file), choice)[0]
