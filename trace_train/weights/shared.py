"""Networks to share: weights and configuration, without what only training needs. One ships with the package.

    network.safetensors   all tensors, in float32 or float16
    network.json          configuration, number of steps, what the network was trained on, SHA-256 of the tensors

The folder is created by an atomic rename.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import safetensors.torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from trace_data.errors import CheckpointError
from trace_data.files import as_any_new_file, sha256_of
from trace_data.text_files import content_of, parse_json
from trace_train.config import Config, config_from
from trace_train.weights.checkpoint import load_tensors, open_checkpoint
from trace_train.weights.flow import flow_folder
from trace_train.weights.folder import new_folder

DESCRIPTION, TENSORS = "network.json", "network.safetensors"
FORMAT_VERSION = 1
DEMO = "demo"
"""Name of the network that ships with the package."""
AGAIN = "get or write the folder again"
_SHIPPED = Path(__file__).parent / DEMO


class _Written(BaseModel):
    """Schema of `network.json`; the file may be damaged."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    format_version: Literal[1]
    step: int = Field(ge=0)
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    config: dict[str, Any]
    trained_on: str
    synthetic: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedNetwork:
    """A folder whose tensors match the hash in its description."""

    folder: Path
    config: Config
    step: int
    sha256: str
    trained_on: str
    """Datasets, sequences and frames it was trained on."""
    synthetic: bool
    """Whether it has only seen the sample world."""

    @property
    def file(self) -> Path:
        """The file of its tensors."""
        return self.folder / TENSORS

    @property
    def shipped(self) -> bool:
        """Whether it is the one that ships with the package."""
        return self.folder == _SHIPPED

    def state(self) -> dict[str, Tensor]:
        """All tensors by name; floating-point ones as float32. Raises CheckpointError if the file is damaged."""
        state = load_tensors(self.file, hint=AGAIN)
        return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}


def resolve(path: Path) -> Path:
    """The folder of the shipped network for the word `demo`, unless a folder of this name exists; else `path`."""
    return _SHIPPED if path == Path(DEMO) and not path.exists() else path


def share(source: Path, out: Path, *, half: bool = False, force: bool = False) -> SharedNetwork:
    """Write the (averaged) weights of a run or checkpoint as a network to share; `half`: in float16.

    Raises CheckpointError if `source` has no checkpoint, or needs RAFT's weights, which are shared by nobody but their
    authors; OutputError if `out` exists or cannot be written, and then leaves nothing.
    """
    checkpoint = open_checkpoint(source)
    if flow_folder(checkpoint.run).is_dir():
        raise CheckpointError(
            "was trained with RAFT, whose weights are not written into a network to share",
            where=checkpoint.run,
            hint="trace export-weights  without --form network  writes all its parts under their published names",
        )
    data = checkpoint.facts["data"]
    with new_folder(out, DESCRIPTION, "a network", force=force) as partial:
        state = {name: _stored(value, half) for name, value in checkpoint.weights().items()}
        safetensors.torch.save_file(state, partial / TENSORS)
        as_any_new_file(partial / TENSORS)
        text = {
            "format_version": FORMAT_VERSION,
            "step": checkpoint.step,
            "sha256": sha256_of(partial / TENSORS),
            "trained_on": str(data.get("trained_on", "")),
            "synthetic": bool(data.get("synthetic", False)),
            "config": checkpoint.config.model_dump(mode="json"),
        }
        (partial / DESCRIPTION).write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
    return open_shared(out)


def _stored(value: Tensor, half: bool) -> Tensor:
    return (value.half() if half and value.is_floating_point() else value).contiguous()


def open_shared(folder: Path) -> SharedNetwork:
    """Open a network to share. Raises CheckpointError if there is none or it is damaged."""
    file = folder / DESCRIPTION
    try:
        facts: Mapping[str, Any] = parse_json(
            content_of(file, error=CheckpointError), where=file, error=CheckpointError
        )
        written = _Written.model_validate(facts)
        config = config_from(written.config, origin=str(file))
    except FileNotFoundError as error:
        raise CheckpointError(f"holds no network (there is no {DESCRIPTION})", where=folder, hint=AGAIN) from error
    except (ValidationError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise CheckpointError(f"is damaged or of another version: {reason}", where=file, hint=AGAIN) from error
    tensors = folder / TENSORS
    if not tensors.is_file() or sha256_of(tensors) != written.sha256:
        state = "is damaged: its SHA-256 differs" if tensors.is_file() else "is missing"
        raise CheckpointError(state, where=tensors, hint=AGAIN)
    return SharedNetwork(
        folder=folder,
        config=config,
        step=written.step,
        sha256=written.sha256,
        trained_on=written.trained_on,
        synthetic=written.synthetic,
    )
