"""`trace docs`: the documentation that belongs to this version, wherever it is installed."""

from __future__ import annotations

from pathlib import Path

import click

from . import options


@options.command("docs")
@click.argument("page", required=False)
@options.json
def docs(page: str | None, as_json: bool) -> None:
    """Show a PAGE of the documentation, or list the pages.

    \b
    Examples:
      trace docs                      every page and its title
      trace docs training
      trace docs datasets/3dpw
      trace docs --json               the same list, with the files
    """
    from trace_data.errors import ConfigError, nearest

    from . import render

    folder = docs_folder()
    pages = {file.relative_to(folder).with_suffix("").as_posix(): file for file in sorted(folder.rglob("*.md"))}
    if page is None:
        found = {name: _title(file) for name, file in pages.items()}
        if as_json:
            render.json_object({"folder": folder, "pages": found})
        else:
            render.table(("page", "title"), list(found.items()))
        return
    name = page.removeprefix("docs/").removesuffix(".md")
    if name not in pages:
        near = nearest(name, pages)
        raise ConfigError(
            f"there is no page {page!r}" + (f", did you mean {near!r}?" if near else ""), hint="trace docs  lists them"
        )
    text = pages[name].read_text(encoding="utf-8")
    if as_json:
        render.json_object({"page": name, "file": pages[name], "text": text})
    else:
        click.echo_via_pager(text)


def docs_folder() -> Path:
    """The pages: in a wheel they lie beside this file, in a clone in its folder `docs`. Raises ConfigError."""
    from trace_data.errors import ConfigError

    here = Path(__file__).resolve().parent
    for folder in (here / "pages", here.parent / "docs"):
        if any(folder.glob("*.md")):
            return folder
    raise ConfigError("this installation has no documentation", where=here, hint="read docs/ in a clone of the project")


def _title(file: Path) -> str:
    with file.open(encoding="utf-8") as lines:
        return next((line.lstrip("# ").strip() for line in lines if line.startswith("# ")), "")
