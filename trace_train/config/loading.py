"""Loads a configuration from a preset or file plus command-line assignments.

All problems are reported together before anything slow starts; an unknown key suggests the most similar known one.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import ValidationError

from trace_data.errors import ConfigError, nearest
from trace_data.text_files import content_of, parse_yaml
from trace_train.config.part import ConfigPart
from trace_train.config.prediction import PredictionConfig
from trace_train.config.run import Config

Part = TypeVar("Part", bound=ConfigPart)


def presets() -> list[str]:
    """Preset names accepted by `--config`."""
    folder = resources.files("trace_train.presets")
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def load_config(preset: str | Path, assignments: Sequence[str] = ()) -> Config:
    """Load a preset by name, or a YAML file, and apply `key.sub=value` assignments.

    A file lists what differs from the preset named by its key `preset` (default: the published sizes). Raises
    ConfigError listing every unknown key, wrong type and value out of range.
    """
    values = _read(preset)
    base = values.get("preset")
    if str(preset) not in presets() and isinstance(base, str):
        values = merged(_read(base), values)
    return config_from(_assigned(values, assignments), origin=str(preset))


def changed(config: Config, assignments: Sequence[str]) -> Config:
    """The configuration after `key.sub=value` assignments. Raises ConfigError as `load_config` does."""
    return config_from(_assigned(config.model_dump(mode="json"), assignments), origin="--set")


def prediction_config(assignments: Sequence[str] = ()) -> PredictionConfig:
    """The configuration of prediction after `key.sub=value` assignments. Raises ConfigError as `load_config` does."""
    return validated(PredictionConfig, _assigned({}, assignments, PredictionConfig), origin="--set")


def _assigned(values: dict[str, Any], assignments: Sequence[str], model: type[ConfigPart] = Config) -> dict[str, Any]:
    """A copy of `values` with the assignments applied."""
    for text in assignments:
        key, sign, value = text.partition("=")
        if not sign:
            raise ConfigError(f"{text!r} is no assignment", hint="write --set key.sub=value, as in --set steps=200")
        read = parse_yaml(value, where=f"--set {key}", error=ConfigError)
        _assign(values, key.strip().split("."), read, model)
    return values


def config_from(values: dict[str, Any], *, origin: str) -> Config:
    """Validate nested values; `origin` names their source in errors."""
    return validated(Config, values, origin=origin)


def validated(
    model: type[Part], values: dict[str, Any], *, origin: str, hint: str = "trace docs configuration  lists every key"
) -> Part:
    """Values as a checked part. Raises ConfigError that lists every unknown key, wrong type and value out of range."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [_explain(item, model) for item in error.errors()]
        raise ConfigError(
            f"{len(lines)} problem{'s' if len(lines) > 1 else ''} in the configuration:\n    " + "\n    ".join(lines),
            where=origin,
            hint=hint,
        ) from error


def _read(preset: str | Path) -> dict[str, Any]:
    name = str(preset)
    if name in presets():
        content = resources.files("trace_train.presets").joinpath(f"{name}.yaml").read_bytes()
    elif Path(name).suffix in {".yaml", ".yml"} and Path(name).is_file():
        content = content_of(Path(name), error=ConfigError)
    else:
        near = nearest(name, presets())
        raise ConfigError(
            f"no preset or YAML file is called {name!r}" + (f", did you mean {near!r}?" if near else ""),
            hint=f"presets are {', '.join(presets())}",
        )
    values = parse_yaml(content, where=name, error=ConfigError) or {}
    if not isinstance(values, dict):
        raise ConfigError(f"holds a {type(values).__name__}, expected keys and values", where=name)
    if name in presets() and "base" in values:  # a preset may extend another one
        return merged(_read(values.pop("base")), values)
    return values


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` updated with `changes`, recursively."""
    out = dict(base)
    for key, value in changes.items():
        inner = out.get(key)
        out[key] = merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return out


def _assign(values: dict[str, Any], path: list[str], value: object, config: type[ConfigPart]) -> None:
    """Set a nested key; `stages.0.clips` addresses the first stage. A missing list starts as its default."""
    inner: Any = values
    default: Any = config().model_dump(mode="json")
    for number, key in enumerate(path):
        place: str | int = key
        if isinstance(inner, list):
            if not (key.isdecimal() and int(key) < len(inner)):
                raise ConfigError(
                    f"{'.'.join(path)} cannot be set: {path[number - 1]} has {len(inner)} entries, counted from 0"
                )
            place = int(key)
        elif not isinstance(inner, dict):
            raise ConfigError(f"{'.'.join(path)} cannot be set: {path[number - 1]} is a single value")
        if number == len(path) - 1:
            inner[place] = value
            return
        default = default.get(key) if isinstance(default, dict) else None
        if isinstance(inner, dict):
            inner.setdefault(key, deepcopy(default) if isinstance(default, list) else {})
        inner = inner[place]


def _explain(item: Any, config: type[ConfigPart]) -> str:
    path = [str(part) for part in item["loc"]]
    name = ".".join(path) or "configuration"
    if item["type"] != "extra_forbidden":
        return f"{name}: {item['msg'].removeprefix('Value error, ')}, found {item['input']!r}"
    model: Any = config
    for part in path[:-1]:
        if (field := model.model_fields.get(part)) is not None:  # otherwise a list index or mapping key
            inner = (field.annotation, *get_args(field.annotation))
            model = next(t for t in inner if hasattr(t, "model_fields"))
    near = nearest(path[-1], model.model_fields)
    return f"{name}: unknown key" + (f", did you mean {near!r}?" if near else "")
