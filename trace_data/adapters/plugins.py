"""Users' adapters: import a module, check that it is an adapter, and describe it to other processes."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import cast, get_args

from trace_data.adapters.base import Adapter, DatasetSpec, Plugin
from trace_data.errors import ConfigError
from trace_data.files import path_of
from trace_data.schema.record import Split

PAGE = "trace docs own-dataset  shows one in 60 lines"


def import_plugin(module: str, folder: str | None = None) -> Adapter:
    """Import an adapter by name, or by the path of a `.py` file.

    Searches Python's path, then `folder` (default: the current one). Raises ConfigError.
    """
    name, place = module, folder or str(Path.cwd())
    if module.endswith(".py"):
        file = path_of(module, where="--plugin").absolute()
        name, place = file.stem, str(file.parent)
    if place not in sys.path:
        sys.path.append(place)
        importlib.invalidate_caches()
    try:
        imported = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigError(
                f"there is no module {name}", where=module, hint=f"looked where Python looks and in {place}; {PAGE}"
            ) from error
        raise _broken(module, error) from error
    except Exception as error:  # any error of a user's module is reported in one paragraph
        raise _broken(module, error) from error
    _check(imported, module)
    return cast(Adapter, imported)


def _check_splits(spec: DatasetSpec, given: str, where: str | None) -> None:
    """Raises ConfigError: sequences of a split that no command asks for would be left out without a word."""
    known = get_args(Split)
    unknown = [str(split) for split in spec.splits if split not in known]
    if unknown or not spec.splits:
        raise ConfigError(
            f"SPEC.splits of {given} names {', '.join(map(repr, unknown)) or 'no split'}, expected some of"
            f" {', '.join(known)}",
            where=where,
            hint="give each split of the dataset one of these names in SPEC.splits and in find(root, split)",
        )


def plugin_of(adapter: Adapter) -> Plugin:
    """Description with which another process can import the adapter."""
    module = cast(ModuleType, adapter)
    file = Path(module.__file__ or "").absolute()
    levels = module.__name__.count(".") + (file.name == "__init__.py")
    return Plugin(module.__name__, str(file.parents[levels]))


def _check(module: ModuleType, given: str) -> None:
    """Raises ConfigError that names every missing attribute of an adapter."""
    lacking = [name for name in ("find", "read", "inspect") if not callable(getattr(module, name, None))]
    if not isinstance(getattr(module, "SPEC", None), DatasetSpec):
        lacking.insert(0, "SPEC (a DatasetSpec)")
    if lacking:
        raise ConfigError(
            f"{given} is no adapter: it lacks {', '.join(lacking)}",
            where=module.__file__,
            hint=f"an adapter is a module with SPEC, find(root, split), read(ref) and inspect(root); {PAGE}",
        )
    _check_splits(module.SPEC, given, module.__file__)


def _broken(module: str, error: Exception) -> ConfigError:
    last = traceback.extract_tb(error.__traceback__)[-1]
    line = error.lineno if isinstance(error, SyntaxError) else last.lineno
    file = error.filename if isinstance(error, SyntaxError) else last.filename
    return ConfigError(
        f"the module {module} cannot be imported: {type(error).__name__}: {error}", where=f"{file}:{line}", hint=PAGE
    )
