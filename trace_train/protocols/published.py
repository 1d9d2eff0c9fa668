"""Published scores, and those of them that follow a protocol (docs/published-numbers.md)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Literal

from trace_data.errors import ConfigError, nearest
from trace_data.text_files import parse_yaml
from trace_train.config.loading import validated
from trace_train.config.part import ConfigPart

TABLES = {
    "3dpw": "3DPW",
    "emdb1": "EMDB-1",
    "emdb2": "EMDB-2",
    "rich": "RICH",
    "mupots": "MuPoTS-3D, tracking",
    "dyna3dpw": "Dyna3DPW, tracking",
    "posetrack18": "PoseTrack18, tracking",
}
"""Titles of the tables, in their order."""


class PublishedRow(ConfigPart):
    """One row of a published table."""

    system: str
    """Its name in the tables."""
    table: Literal["3dpw", "emdb1", "emdb2", "rich", "mupots", "dyna3dpw", "posetrack18"]
    """Key of `TABLES`."""
    protocol: str | None
    """The protocol that it follows; None where no source says so."""
    people: Literal["given", "detections", "not said"]
    """Whether boxes or tracks are given, or people are the system's own detections."""
    camera: str = ""
    """Source of the camera's motion, where it matters."""
    version: str = ""
    """What tells rows of one system, protocol and camera apart."""
    scores: dict[str, float]
    """By field of `Scores`, in displayed units."""
    source: str
    """Where the number was read."""
    note: str = ""
    """What makes the numbers doubtful, or is said of them besides."""

    @property
    def key(self) -> str:
        """What `--beside` calls it."""
        return self.system.lower().replace(" + ", "+").replace(" ", "-")

    @property
    def title(self) -> str:
        """System and camera, or the version where one system has several."""
        apart = self.camera or self.version
        return f"{self.system}, {apart}" if apart else self.system


class _File(ConfigPart):
    rows: tuple[PublishedRow, ...]
    """All of the file."""


@cache
def published() -> tuple[PublishedRow, ...]:
    """All rows, in the order of the tables."""
    name = "published_numbers.yaml"
    content = resources.files("trace_train.protocols").joinpath(name).read_bytes()
    rows = parse_yaml(content, where=name, error=ConfigError)
    return validated(_File, {"rows": rows}, origin=name).rows


def beside(systems: Sequence[str], protocol: str) -> list[PublishedRow]:
    """The rows of these systems that follow a protocol. Raises ConfigError for a system that has none."""
    keys = list(dict.fromkeys(row.key for row in published()))
    found: list[PublishedRow] = []
    for system in (name.lower() for name in systems):
        if system not in keys:
            near = nearest(system, keys)
            raise ConfigError(
                f"no published scores of {system!r}" + (f", did you mean {near!r}?" if near else ""),
                where="--beside",
                hint=f"there are {', '.join(keys)}",
            )
        own = [row for row in published() if row.key == system]
        fitting = [row for row in own if row.protocol == protocol]
        if not fitting:
            tables = {row.table for row in published() if row.protocol == protocol}
            known = sorted((row for row in own if row.protocol), key=lambda row: row.table not in tables)
            others = list(dict.fromkeys(row.protocol for row in known if row.protocol))
            unknown = sorted({TABLES[row.table] for row in own if row.protocol is None})
            raise ConfigError(
                f"no published scores of {own[0].system} follow protocol {protocol}"
                + (f"; it has some of {', '.join(others)}" if others else "")
                + (f"; by which protocol those on {', '.join(unknown)} were computed is not known" if unknown else ""),
                where="--beside",
                hint=f"trace evaluate … --protocol {others[0]} --beside {system}"
                if others
                else "trace docs published-numbers  shows them",
            )
        found += fitting
    return found
