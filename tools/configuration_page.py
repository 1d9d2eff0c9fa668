"""Writes docs/configuration.md from the configuration's own descriptions: `python tools/configuration_page.py`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from trace_train.config import Config, presets

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"


def page() -> str:
    """The whole page."""
    lines = [
        "# Configuration",
        "",
        "Written by `python tools/configuration_page.py` from `trace_train/config.py`; a test keeps the two equal.",
        "",
        f"`trace train --config NAME` takes a preset ({', '.join(presets())}) or a YAML file that holds what differs",
        "from the defaults below; `--set key.sub=value` goes on top. Unknown keys and wrong values are all named",
        "at once.",
    ]
    parts: list[tuple[str, type[BaseModel]]] = [("", Config)]
    for name, field in Config.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            parts.append((f"{name}.", field.annotation))
    for prefix, model in parts:
        title = (model.__doc__ or "").strip().splitlines()[0]
        lines += ["", f"## {prefix.rstrip('.') or 'Run'}: {title}", "", "| key | default | meaning |", "|---|---|---|"]
        for name, field in model.model_fields.items():
            if field.description:
                default = field.get_default(call_default_factory=True)
                lines.append(f"| `{prefix}{name}` | `{default}` | {' '.join(field.description.split())} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
