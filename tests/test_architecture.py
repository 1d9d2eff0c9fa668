"""Who may import whom: rooms stand in an order, imports only lead downwards, and no two modules need each other.

Imports inside functions and below `if TYPE_CHECKING:` count too, except where a rule is about what happens at import.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from repository import ROOT

ORDER = {
    "trace_data": (
        "errors os_errors geometry progress",
        "files text_files settings workers schema unpickle",
        "defects drawing frames motions pages",
        "adapters assets shards sample_world",
        "results consistency",
        "builder export overlay",
        "verify view",
        "extract",
    ),
    "trace_train": (
        "geometry presets",
        "body metrics network",
        "losses",
        "config",
        "build protocols streaming",
        "targets",
        "weights",
        "doctor precompute training",
        "inference",
        "evaluation health",
        "evaluate preview",
        "report train",
        "preflight",
    ),
}
"""Rooms and single modules from the bottom up. A line imports from the lines above it and from itself."""
FROM_DATA = {
    "assets", "drawing", "errors", "files", "frames", "geometry", "overlay", "pages", "progress", "results", "schema",
    "shards", "text_files", "unpickle",
}  # fmt: skip
"""What of `trace_data` the training side may use."""
TENSORS_ONLY = ("network/", "losses/", "metrics/", "geometry/", "body/")
MODULES_AT_THE_TOP = {"trace_data": 10, "trace_train": 4}
FILES = sorted(file for top in ("cli", *ORDER) for file in (ROOT / top).rglob("*.py"))


def module_of(file: Path) -> str:
    """Dotted name of a file."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(file) for file in FILES}


@cache
def imports(file: Path, *, at_import_only: bool = False) -> set[str]:
    """Absolute names of what a file imports: `module` or `module.name`."""
    package = file.relative_to(ROOT).parts[:-1]
    names = set()
    for node in _statements(ast.parse(file.read_text()), at_import_only):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def _statements(tree: ast.AST, at_import_only: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if at_import_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if at_import_only and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from _statements(node, at_import_only)


def modules_needed(file: Path) -> set[str]:
    """Our own modules that a file imports."""
    needed = {name if name in MODULES else name.rpartition(".")[0] for name in imports(file)}
    return needed & MODULES - {module_of(file)}


def level_of(module: str) -> int:
    """The line of `ORDER` on which a module's room stands."""
    top, room = module.split(".")[:2]
    return next(number for number, line in enumerate(ORDER[top]) if room in line.split())


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_keep_to_the_rules(file: Path) -> None:
    top, *rest = file.relative_to(ROOT).parts
    inside = "/".join(rest)
    everything = imports(file)
    tops = {name.split(".")[0] for name in everything}
    at_import = {name.split(".")[0] for name in imports(file, at_import_only=True)}
    if top == "trace_data":
        assert not tops & {"trace_train", "trace_cli", "cli"}
        assert "torch" not in at_import
    if top == "trace_train":
        assert not tops & {"trace_cli", "cli"}
        assert {name.split(".")[1] for name in everything if name.startswith("trace_data.")} <= FROM_DATA
        assert "load_settings" not in file.read_text()
        if inside.startswith(TENSORS_ONLY):
            assert not {n for n in everything if n.startswith("trace_data.") and not n.startswith("trace_data.schema")}
            assert not tops & {"pathlib", "logging", "h5py", "yaml"}
            assert not {name for name in everything if name.startswith("trace_train.config")}
    if top == "cli" and inside != "render.py":
        assert at_import <= {"click", "cli", *sys.stdlib_module_names}
        assert not {name for name in imports(file, at_import_only=True) if name.startswith("cli.render")}
    if "rich" in tops:
        assert (top, inside) == ("cli", "render.py"), "only cli/render.py draws"
    if inside not in ("text_files.py", "shards/index.py", "health/ranges.py"):
        source = file.read_text()
        assert not re.search(r"\b(json\.loads?|yaml\.(safe_)?load|tomllib\.loads?)\(", source), "see text_files"
    # pickle.load is ruff's S301; object arrays are the other door to the same danger
    assert "allow_pickle=True" not in file.read_text()


@pytest.mark.parametrize("file", [f for f in FILES if f.relative_to(ROOT).parts[0] != "cli"], ids=module_of)
def test_imports_lead_downwards(file: Path) -> None:
    module = module_of(file)
    if module in ORDER:
        return
    for name in modules_needed(file):
        if name.split(".")[0] == module.split(".")[0]:
            same_room = name.split(".")[1] == module.split(".")[1]
            assert same_room or level_of(name) <= level_of(module), f"{module} imports {name}, which stands above it"


@pytest.mark.parametrize("rooms", [False, True], ids=["modules", "rooms"])
def test_no_two_need_each_other(rooms: bool) -> None:
    def place(module: str) -> str:
        return ".".join(module.split(".")[:2]) if rooms else module

    needs: dict[str, set[str]] = {}
    for file in FILES:
        module = place(module_of(file))
        needs.setdefault(module, set()).update({place(name) for name in modules_needed(file)} - {module})
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        pytest.fail(f"imports in a circle: {' -> '.join(error.args[1])}")


def test_rooms_are_found_by_their_names() -> None:
    for top, most in MODULES_AT_THE_TOP.items():
        assert len(list((ROOT / top).glob("[!_]*.py"))) <= most, f"{top}/ has more than {most} modules beside its rooms"
    assert not [file for file in FILES if file.stem in ("utils", "common", "helpers", "misc")]
    for init in (file for file in FILES if file.name == "__init__.py" and file.parent.name not in ("cli", *ORDER)):
        assert ast.get_docstring(ast.parse(init.read_text())), f"{init.parent} does not say what it holds"


def test_a_public_class_name_exists_once() -> None:
    places: dict[str, list[str]] = {}
    for file in FILES:
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(file.relative_to(ROOT)))
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def test_the_page_shows_the_order() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    table = page.split("| `trace_data` | `trace_train` |\n")[1].split("\n\n")[0].splitlines()[1:]
    rows = [line.strip("|").split("|") for line in table]
    for column, top in enumerate(ORDER):
        shown = [set(re.findall(r"`(\w+)`", row[column])) for row in rows if "`" in row[column]]
        assert shown == [set(line.split()) for line in ORDER[top]], f"docs/architecture.md: the order of {top}"
    picture = page.split("```")[1]
    rooms = {file.relative_to(ROOT).parts[1] for file in FILES if len(file.relative_to(ROOT).parts) > 2}
    assert {room for room in rooms if not re.search(rf"\b{room}/", picture)} == set(), "rooms that no picture shows"
    allowed = next(line for line in page.splitlines() if line.startswith("| `trace_train/`"))
    assert set(re.findall(r"`(\w+)`", allowed.split("of `trace_data`:")[1])) == FROM_DATA
