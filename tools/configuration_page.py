"""Writes docs/configuration.md from the configuration's own descriptions: `python tools/configuration_page.py`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from trace_train.config import (
    Config,
    DataConfig,
    DatasetConfig,
    GroupRule,
    OptimConfig,
    PredictionConfig,
    Stage,
    load_config,
    presets,
)
from trace_train.config.tracker import CutConfig, PublishedTrackerConfig, TrackerConfig
from trace_train.config.world import WorldConfig

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"

INSIDE: dict[type[BaseModel], list[tuple[str, type[BaseModel]]]] = {
    DataConfig: [("data.datasets.NAME.", DatasetConfig)],
    OptimConfig: [("optim.groups.N.", GroupRule)],
}
"""Parts inside of parts: entries of a mapping or list."""
PREDICTION: list[tuple[str, type[BaseModel]]] = [
    ("", PredictionConfig),
    ("cuts.", CutConfig),
    ("tracker.", TrackerConfig),
    ("tracker.published.", PublishedTrackerConfig),
    ("world.", WorldConfig),
]


def page() -> str:
    """The whole page."""
    lines = [
        "# Configuration",
        "",
        "Written by `python tools/configuration_page.py` from `trace_train/config/`; a test keeps the two equal.",
        "",
        f"`trace train --config NAME` takes a preset ({', '.join(presets())}) or a YAML file that holds what differs",
        "from the defaults below; `--set key.sub=value` goes on top. Unknown keys and wrong values are all named",
        "at once.",
    ]
    parts: list[tuple[str, type[BaseModel]]] = [("", Config), ("stages.N.", Stage)]
    for name, field in Config.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            parts.append((f"{name}.", field.annotation))
            parts += INSIDE.get(field.annotation, [])
    for prefix, model in parts:
        lines += section(prefix.rstrip(".") or "Run", prefix, model)
        if model is DatasetConfig:
            lines += published_table()
    lines += ["", "# Configuration of prediction", "", "`trace predict --set key.sub=value` takes these."]
    for prefix, model in PREDICTION:
        lines += section(prefix.rstrip(".") or "Prediction", prefix, model)
    return "\n".join(lines) + "\n"


def section(name: str, prefix: str, model: type[BaseModel]) -> list[str]:
    """The keys of a part; those that are parts themselves have sections of their own."""
    title = (model.__doc__ or "").strip().splitlines()[0]
    lines = ["", f"## {name}: {title}", "", "| key | default | meaning |", "|---|---|---|"]
    for key, field in model.model_fields.items():
        if field.description:
            lines.append(f"| `{prefix}{key}` | {shown(field)} | {' '.join(field.description.split())} |")
    return lines


def shown(field: FieldInfo) -> str:
    """The default of a key, in a cell of a table."""
    if field.is_required():
        return ""
    default = field.get_default(call_default_factory=True)
    if isinstance(default, tuple) and any(isinstance(item, BaseModel) for item in default):
        return f"{len(default)} with the defaults below"
    return f"`{default}`"


def published_table() -> list[str]:
    """What preset `trace` sets for each dataset."""
    keys = list(DatasetConfig.model_fields)
    lines = ["", "Preset `trace`:", "", f"| dataset | {' | '.join(keys)} |", "|---" * (len(keys) + 1) + "|"]
    for name, own in load_config("trace").data.datasets.items():
        values = [getattr(own, key) for key in keys]
        lines.append(f"| `{name}` | {' | '.join('' if value is None else f'`{value}`' for value in values)} |")
    return lines


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
