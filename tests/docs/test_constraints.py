"""Everything that `make quickstart` and `make test` install has one version in constraints.txt."""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, distribution

import pytest
from packaging.requirements import Requirement
from repository import ROOT

from trace_data.errors import ConfigError
from trace_data.text_files import parse_toml

BUILD_OF_TORCH = re.compile(r"nvidia-|cuda-|triton|torch$")
"""These come with the build of torch that an index serves."""


def plain(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed_for(requirements: list[str]) -> set[str]:
    """Names of all installed packages that these need, through any number of others."""
    found: set[tuple[str, frozenset[str]]] = set()
    left = [Requirement(text) for text in requirements]
    while left:
        asked = left.pop()
        key = (plain(asked.name), frozenset(asked.extras))
        if key in found:
            continue
        try:
            needs = distribution(asked.name).requires or []
        except PackageNotFoundError:  # an extra that this environment goes without
            continue
        found.add(key)
        for text in needs:
            need = Requirement(text)
            extras = ("", *asked.extras)
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in extras):
                left.append(need)
    return {name for name, _ in found}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="for 3.10 versions are left to pip")
@pytest.mark.parametrize("extra", ["", "test"])
def test_every_package_has_its_version(extra: str) -> None:
    project = parse_toml((ROOT / "pyproject.toml").read_bytes(), where="pyproject.toml", error=ConfigError)["project"]
    asked = [*project["dependencies"], *(project["optional-dependencies"][extra] if extra else [])]
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pinned = {plain(name) for name in re.findall(r"^([\w.-]+)==", text, re.MULTILINE)}
    assert {name for name in installed_for(asked) if not BUILD_OF_TORCH.match(name)} <= pinned
