"""The page of tracking: every setting with its default."""

from __future__ import annotations

import re

from repository import ROOT

from trace_train.config.tracker import CutConfig, TrackerConfig

PAGE = (ROOT / "docs" / "tracking.md").read_text()


def test_every_setting_stands_there_with_its_default() -> None:
    table = PAGE.split("\n## Settings\n")[1].split("\n## ")[0]
    shown: dict[str, str] = {}
    for line in table.splitlines():
        if line.startswith("| `"):
            keys, defaults, unit = [cell.strip() for cell in line.strip("|").split("|")]
            shown |= dict(zip(re.findall(r"`(\w+)`", keys), defaults.replace("`", "").split(", "), strict=True))
            assert unit
    config = {name: value for name, value in TrackerConfig().model_dump().items() if name != "published"}
    assert shown == {name: value if isinstance(value, str) else f"{value:g}" for name, value in config.items()}


def test_the_settings_of_cuts_stand_there() -> None:
    cuts = CutConfig()
    for text in ("`detect` (on)", f"`details` {cuts.details:g} ", f"`colours` {cuts.colours:g} "):
        assert text in PAGE
    assert cuts.detect
