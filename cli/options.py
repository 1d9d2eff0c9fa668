"""Options shared by the commands. Folders that are not given come from the settings."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .main import CONTEXT, debug

if TYPE_CHECKING:
    from trace_data.adapters.base import DatasetRoots
    from trace_data.progress import Progress
    from trace_data.results.result import Result
    from trace_data.shards.storage.store import Store

SPLITS = ("train", "val", "test")

Function = TypeVar("Function", bound=Callable[..., Any])
Decorator = Callable[[Function], Function]


def command(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Decorator for a command of `trace`: the docstring is its help, and `--debug` works after its name too."""

    def wrap(function: Callable[..., Any]) -> click.Command:
        return click.command(name, context_settings=CONTEXT)(debug(function))

    return wrap


class Renamed(click.Option):
    """An option that is still understood by its `former` name, which help does not show."""

    def __init__(self, *arguments: Any, former: str, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.former = former

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        shown = self.opts
        self.opts = [*shown, self.former]
        super().add_to_parser(parser, ctx)
        self.opts = shown


class AnyPath(click.Path):
    """A path in which ~ is expanded even where the shell does not do so, as in `--out=~/.romp`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(path_type=Path, **settings)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if str(value).startswith("~") or "\0" in str(value):
            from trace_data.files import path_of

            value = path_of(str(value), where=param.opts[0] if param else "the path")
        return super().convert(value, param, ctx)


class Network(AnyPath):
    """An existing path, or the word for the network that ships with the package."""

    def __init__(self) -> None:
        super().__init__(exists=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return Path(value) if str(value) == "demo" else super().convert(value, param, ctx)


class Folder(AnyPath):
    """A local folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if "://" in str(value):
            from trace_data.shards.storage.url import shown

            self.fail(f"{shown(str(value))} is a URL, but a local folder is needed here.", param, ctx)
        return super().convert(value, param, ctx)


class Place(AnyPath):
    """A folder, or an unchanged URL."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if "://" in str(value) else super().convert(value, param, ctx)


def _folder(flag: str, text: str, **settings: Any) -> Decorator[Any]:
    return click.option(flag, type=Folder(file_okay=False), help=text, **settings)


names: Decorator[Any] = click.argument("names", nargs=-1, metavar="[NAME]...")
adapters: Decorator[Any] = click.option(
    "--adapter",
    "adapters",
    multiple=True,
    metavar="MODULE",
    help="A dataset of your own: a Python module such as my_package.my_dataset, or its file; repeatable.",
)
defects: Decorator[Any] = click.option(
    "--defects/--no-defects",
    default=True,
    help="Remove known defects of a dataset, or keep them  [default: remove].",
)
root: Decorator[Any] = _folder("--root", "Folder that holds the datasets [settings root, root_h36m, …].")
source: Decorator[Any] = click.option(
    "--source",
    "sources",
    multiple=True,
    type=AnyPath(),
    help="File, zip or folder with body models as downloaded; repeatable [setting sources].",
)
packs: Decorator[Any] = _folder("--packs", "Folder of prepared body models [setting packs].")
shards_folder: Decorator[Any] = click.argument(
    "directory", required=False, metavar="[DIR]", type=Folder(file_okay=False)
)


def _only_one(context: click.Context, parameter: click.Parameter, given: tuple[Path, ...]) -> Path | None:
    if len(given) > 1:
        raise click.UsageError(f"{context.command_path} looks at one set of shards; call it for each of them", context)
    return given[0] if given else None


local_shards: Decorator[Any] = _folder(
    "--shards", "Folder of built shards [setting shards].", multiple=True, callback=_only_one
)
limit: Decorator[Any] = click.option(
    "--limit", type=click.IntRange(min=1), help="Only the first N sequences of each split, for a quick look."
)
sequences: Decorator[Any] = click.option(
    "--sequences",
    multiple=True,
    metavar="NAME",
    help="Only this sequence, or those that match a pattern such as 'downtown_*'; repeatable.",
)
jobs: Decorator[Any] = click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=lambda: len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
    show_default="cores of this machine",
    help="Worker processes.",
)
draw: Decorator[Any] = click.option(
    "--draw",
    metavar="overlay,ids,skeleton,bird,side",
    help="Also write a video with these: bodies, names, joints, the world from above and from the side.",
)
flow_weights: Decorator[Any] = click.option(
    "--weights", type=AnyPath(), help="With --flow raft: folder of its imported weights [setting weights]."
)
force: Decorator[Any] = click.option("--force", is_flag=True, help="Replace the content of the output folder.")
json: Decorator[Any] = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")


def _as_one(context: click.Context, parameter: click.Parameter, given: tuple[Path | str, ...]) -> Path | str | None:
    """The set of shards that is given, or the text that names all of them as one."""
    if len(given) < 2:
        return given[0] if given else None
    from trace_data.shards.storage.store import joined_place

    return joined_place(given)


def shards(function: Function) -> Function:
    """`--shards`, and for URLs `--cache` and `--cache-size`: the arguments of `store`."""
    place = click.option(
        "--shards",
        metavar="DIR|URL",
        type=Place(file_okay=False),
        multiple=True,
        callback=_as_one,
        help="Folder or URL of built shards; repeated, all sets are used as one [setting shards].",
    )
    cache = _folder("--cache", "Folder that keeps the shards of a URL [setting cache].")
    size = click.option("--cache-size", metavar="SIZE", help="Limit of that cache, as in 200GB [setting cache_size].")
    wrapped: Function = place(cache(size(function)))
    return wrapped


def words(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> list[str]:
    """Callback of values that may be repeated, or separated by commas."""
    named = [word.strip() for value in given for word in value.split(",") if word.strip()]
    if given and not named:
        raise click.BadParameter("names nothing", context, parameter)
    return named


def scene(function: Function) -> Function:
    """What is taken of a result, and how it is arranged: `people`, `start`, `end`, `level`, `ground`, `smooth`."""
    wanted = [
        click.option(
            "--person",
            "people",
            multiple=True,
            metavar="ID,…",
            callback=words,
            help="Only these people, by number or name.",
        ),
        click.option("--start", type=click.FloatRange(min=0), help="From this second of the video."),
        click.option("--end", type=click.FloatRange(min=0), help="Up to this second of the video."),
        click.option(
            "--level",
            type=click.Choice(["auto", "none"]),
            default="auto",
            show_default=True,
            help="Tilt the whole scene so that people stand upright on average, if the video does not say what is up.",
        ),
        click.option(
            "--ground",
            type=click.Choice(["auto", "none"]),
            default="auto",
            show_default=True,
            help="Raise the whole scene so that the first person stands at height 0, or leave it.",
        ),
        click.option(
            "--smooth",
            type=click.Choice(["off", "causal", "offline"]),
            default="offline",
            show_default=True,
            help="Smooth bodies and camera; results themselves are raw.",
        ),
    ]
    for option in reversed(wanted):
        function = option(function)
    return function


def out(text: str, *, default: str | None = None) -> Decorator[Any]:
    """`--out DIR`; `text` describes the output and the setting or word it defaults to."""
    return _folder("--out", text, default=default, show_default=default is not None)


def flow(*, required: bool = False) -> Decorator[Any]:
    """`--flow raft|dis`: the provider that computes stored flow."""
    return click.option(
        "--flow",
        type=click.Choice(["raft", "dis"]),
        required=required,
        help="Compute optical flow once, for network.flow=stored: RAFT with imported weights, or OpenCV's DIS.",
    )


def count(default: int, *, least: int, text: str) -> Decorator[Any]:
    """`--count N`: how many sequences the sample world gets."""
    number = click.IntRange(min=least)
    return click.option(
        "--count", cls=Renamed, former="--sequences", type=number, default=default, show_default=True, help=text
    )


def clip_frames(*, least: int, text: str) -> Decorator[Any]:
    """`--clip-frames N`: length of a clip."""
    number = click.IntRange(min=least)
    return click.option(
        "--clip-frames", cls=Renamed, former="--frames", type=number, default=16, show_default=True, help=text
    )


def page(text: str, *, former: str) -> Decorator[Any]:
    """`--page FILE.html`: one HTML file that opens from disk."""
    return click.option("--page", cls=Renamed, former=former, type=AnyPath(dir_okay=False), help=text)


def split(*default: str) -> Decorator[Any]:
    """`--split`, repeatable, as `splits`; all three by default."""
    return click.option(
        "--split",
        "splits",
        multiple=True,
        type=click.Choice(SPLITS),
        default=default or SPLITS,
        show_default=True,
        help="Which split; repeatable.",
    )


def datasets(names: Sequence[str], adapters: Sequence[str]) -> list[str]:
    """The named datasets and those of the modules in `--adapter`. Raises ConfigError."""
    from trace_data.adapters import register_adapter

    return [*names, *map(register_adapter, adapters)]


def datasets_root(names: Sequence[str], given: Path | None) -> DatasetRoots:
    """Where the datasets named lie: below the option, else below the setting `root` or in folders of their own.

    Raises ConfigError when there is neither and a dataset has no folder of its own.
    """
    from trace_data.adapters import canonical_names
    from trace_data.adapters.base import DatasetRoots
    from trace_data.settings import load_settings

    settings, chosen = load_settings(), canonical_names(names)
    own = {} if given is not None else settings.dataset_folders(chosen)
    if given is None and "root" not in settings.values and set(own) == set(chosen):
        return DatasetRoots(root=next(iter(own.values())).parent, own=own)
    return DatasetRoots(root=settings.folder("root", given), own=own)


def folder(key: str, given: Path | None = None) -> Path:
    """The option's folder, else that of the setting `key`. Raises ConfigError when there is neither."""
    from trace_data.settings import load_settings

    return load_settings().folder(key, given)


def store(shards: Path | str | None, cache: Path | None, cache_size: str | None, progress: Progress) -> Store:
    """The shards selected by the options of `shards`. Raises ConfigError, OutputError."""
    from trace_data.settings import load_settings
    from trace_data.shards.storage.store import open_store

    settings = load_settings()
    location = settings.place("shards", shards)
    return open_store(
        location,
        cache=settings.folder("cache", cache) if "://" in str(location) else None,
        cache_bytes=settings.cache_bytes(cache_size),
        progress=progress,
    )


def still_there(place: str, kind: str, command: str) -> str:
    """What a run was started with, where it has not been moved away. Raises ConfigError, whose hint is the command."""
    from trace_data.errors import ConfigError
    from trace_data.shards.storage.store import places_of

    gone = next((part for part in places_of(place) if "://" not in part and not Path(part).is_dir()), None)
    if gone is not None:
        raise ConfigError(
            f"the {kind} that this run is trained on are no longer there",
            where=gone,
            hint=f"{command} --{kind} DIR  says where they are now",
        )
    return place


def one_folder(key: str, argument: Path | None, option: Path | None) -> Path:
    """The folder given as an argument or as the option `--KEY`, else that of the setting `key`."""
    if argument is not None and option is not None and argument != option:
        raise click.UsageError(f"two folders are named: {argument} and --{key} {option}")
    return folder(key, argument or option)


def body_sources(given: Sequence[Path]) -> list[Path]:
    """Locations to search for body models: the given ones, then the setting `sources` if that folder exists.

    When none is given or set, the default folder is created, as a place to put them.
    """
    from trace_data.settings import load_settings

    settings = load_settings()
    if given and "sources" not in settings.values:
        return [*given]
    standing = settings.folder("sources")
    if not given and settings.origin["sources"] == "default":
        standing.mkdir(parents=True, exist_ok=True)
    return [*given, *([standing] if standing.exists() or not given else [])]


def packs_of(result: Result, given: Path | None) -> Path | None:
    """The option's packs, else those that a result was predicted with, else those of the setting if there are any."""
    return given or result.packs or packs_if_any(None)


def packs_if_any(given: Path | None) -> Path | None:
    """The option's packs, else those of the setting if any have been prepared, else None."""
    from trace_data.settings import load_settings

    settings = load_settings()
    if given is None and "packs" not in settings.values:
        return None
    standing = settings.folder("packs", given)
    return standing if given is not None or any(standing.glob("*.pth")) else None
