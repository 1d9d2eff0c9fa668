"""Who may import whom. Imports below `if TYPE_CHECKING:` do not count: they do not happen."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TO_TRAIN = {
    "schema",
    "shards",
    "errors",
    "settings",
    "progress",
    "geometry",
    "unpickle",
    "drawing",
    "files",
    "frames",
    "assets",
}
TENSORS_ONLY = ("network/", "losses/", "metrics/", "geometry/", "body/")
FILES = sorted(file for top in ("cli", "trace_data", "trace_train") for file in (ROOT / top).rglob("*.py"))


def imports(file: Path, *, at_import_only: bool = False) -> set[str]:
    """Absolute names of the modules a file imports, those inside functions too unless `at_import_only`."""
    package = file.relative_to(ROOT).parts[:-1]
    found = set()
    for node in _statements(ast.parse(file.read_text()), at_import_only):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def _statements(tree: ast.AST, at_import_only: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if at_import_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield node
        yield from _statements(node, at_import_only)


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
        assert {name.split(".")[1] for name in everything if name.startswith("trace_data.")} <= TO_TRAIN
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
    # pickle.load is ruff's S301; object arrays are the other door to the same danger
    assert "allow_pickle=True" not in file.read_text()


def test_files_stay_readable() -> None:
    lengths = {file: len(file.read_text().splitlines()) for file in FILES}
    assert not {str(file): count for file, count in lengths.items() if count > 400}
    assert not [file for file in FILES if file.stem in ("utils", "common", "helpers", "misc")]
