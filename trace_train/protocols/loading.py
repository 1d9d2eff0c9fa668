"""Reads protocols by name or from a file, and says which sequences of an index belong to one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from trace_data.errors import ConfigError, nearest
from trace_data.shards.entries import ShardIndex, build_split
from trace_data.text_files import content_of, parse_yaml
from trace_train.config.loading import merged, validated
from trace_train.protocols.protocol import Protocol

DEFAULT = "trace-5d"
"""The protocol of an evaluation that names none."""
APPROXIMATE = "approximate_pose"
"""Key of the provenance of sequences whose bodies are of another model: only rotations are known of them."""


def protocols() -> list[str]:
    """The names accepted by `--protocol`, the default first."""
    folder = resources.files("trace_train.protocols.definitions")
    names = sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))
    return sorted(names, key=lambda name: name != DEFAULT)


@cache
def load_protocol(name: str = DEFAULT) -> Protocol:
    """A protocol by name, or a YAML file of the same keys, in which `base` names the one that it changes.

    Raises ConfigError for a name that there is not, and for unknown keys and values.
    """
    values = _read(name)
    values.setdefault("name", Path(name).stem)
    return validated(Protocol, values, origin=name, hint="trace docs protocols  lists every key")


def _read(name: str) -> dict[str, Any]:
    if name in protocols():
        content = resources.files("trace_train.protocols.definitions").joinpath(f"{name}.yaml").read_bytes()
    elif Path(name).suffix in {".yaml", ".yml"}:
        content = content_of(Path(name).expanduser(), error=ConfigError)
    else:
        # a dataset has several protocols, of which none is the nearest
        family = [repr(one) for one in protocols() if name and one.startswith(name)]
        near = nearest(name, protocols())
        meant = " or ".join(family) or (repr(near) if near else "")
        raise ConfigError(
            f"no protocol is called {name!r}" + (f", did you mean {meant}?" if meant else ""),
            hint="trace evaluate --list-protocols  shows them, and a YAML file may hold one of your own",
        )
    values = parse_yaml(content, where=name, error=ConfigError) or {}
    if not isinstance(values, dict):
        raise ConfigError(f"holds a {type(values).__name__}, expected keys and values", where=name)
    base = values.pop("base", None)
    if base is None:
        return values
    if base not in protocols() or base == name:
        raise ConfigError(f"base: no protocol is called {base!r}", where=name, hint="trace evaluate --list-protocols")
    inherited = {key: value for key, value in _read(str(base)).items() if key != "name"}
    return merged(inherited, values)


def sequences_of(index: ShardIndex, protocol: Protocol, split: str) -> set[int]:
    """Rows of the index that a protocol scores: not those whose bodies have neither joints nor a place in the world.

    Raises ConfigError where there are none, with what is there and the command that builds the rest.
    """
    of_split = [(row, entry) for row, entry in enumerate(index.sequences) if entry.split == split and entry.frames]
    rows = {row for row, entry in of_split if protocol.data.fits(entry)}
    scored = {row for row in rows if APPROXIMATE not in index.sequences[row].provenance}
    if scored:
        return scored
    if rows:
        raise nothing_to_score(protocol, sorted({index.sequences[row].dataset for row in rows}), index.folder)
    rules = protocol.data
    held = sorted({entry.dataset for entry in index.sequences})
    what = rules.dataset or "any dataset"
    if rules.dataset is not None and rules.dataset not in held:
        raise ConfigError(
            f"protocol {protocol.name} is about {rules.dataset}, and these shards hold {', '.join(held) or 'nothing'}",
            where=index.folder,
            hint=f"trace build-shards {rules.dataset} --split {split}",
        )
    if not of_split:
        raise ConfigError(
            f"these shards have no split {split!r}, they have {', '.join(index.splits)}",
            where=index.folder,
            hint=build_split(index, split),
        )
    narrower = [text for text in (rules.subset, rules.camera and f"{rules.camera} cameras") if text]
    raise ConfigError(
        f"no sequence of {what} in split {split!r} belongs to protocol {protocol.name}"
        + (f" ({', '.join(narrower)})" if narrower else ""),
        where=index.folder,
        hint=f"trace docs {protocol.page.partition('#')[0] or 'protocols'}  says which ones do",
    )


def nothing_to_score(protocol: Protocol, datasets: Sequence[str], where: Path | str) -> ConfigError:
    """Why sequences marked `APPROXIMATE` cannot be scored, and what would help."""
    return ConfigError(
        f"protocol {protocol.name} has nothing to score in {', '.join(datasets)}: bodies are those of SMPL-X, of which"
        " only rotations are known; joints, vertices, shape and translation are missing",
        where=where,
        hint="scores take bodies converted to SMPL, by means of the SMPL-X model and the matrix smplx2smpl; no command"
        " does that yet:  trace docs datasets/rich",
    )
