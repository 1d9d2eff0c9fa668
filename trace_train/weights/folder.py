"""Imported weights: a folder with one safetensors file per published file, and a description in JSON.

    image.safetensors  head.safetensors  flow.safetensors   the imported parts; published names without `module.`
    start.safetensors  instead of a head: the matching parts of BEV's heads, to start training from
    weights.json       provenance, SHA-256, use of the tensors, switches

The folder is created by an atomic rename.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors.numpy
from torch import Tensor, nn

from trace_data.errors import CheckpointError, OutputError
from trace_data.files import as_any_new_file, sha256_of, writable_folder
from trace_data.text_files import content_of, parse_json
from trace_train.network.raft import Raft
from trace_train.weights.checkpoint import load_tensors
from trace_train.weights.checks import Array, some
from trace_train.weights.published import PARTS

FORMAT_VERSION = 2
DESCRIPTION = "weights.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """Keys of `network` that differ between released weights and training from scratch; set when weights are loaded."""

    center_maps: str = "raw"
    """Centre maps are raw values with the published clamped focal loss, not logits."""
    world_rotation: str = "additive"
    """World rotation = 6D head output + 6D camera-space rotation, not a composition of rotations."""
    world_rotation_blocks: int = 1
    """Blocks of the world-rotation head, which sits on the fifth block of the world-motion head."""
    world_motion_gain: float = 2.0
    """Factor of the world motion in y and x: 2 in published inference, 1 in published training."""
    first_motion: str = "counted"
    """The motion predicted at a track's first frame is added to its trajectory."""
    camera_constants: str = "published"
    """Projection with 548 px at 512 and 1e-4 m on the depth, 1e-6 on s, instead of one constant everywhere."""
    flow_first_frame: str = "self"
    """The first frame's flow is computed from the frame to itself."""
    flow_iterations: int = 20
    """Refinement iterations of RAFT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceSwitches:
    """How weights expect to be used on videos; the defaults are for weights trained here."""

    padding: Literal["black", "white"] = "black"
    """Colour around frames that are not square (docs/reference/inference.md#padding-colour)."""
    bn: Literal["running", "chunk"] = "running"
    """Statistics of batch normalisation outside the backbone: the averages from training, or those of the chunk at hand
    (docs/reference/inference.md#batch-statistics-at-inference)."""


RELEASED = InferenceSwitches(padding="white", bn="chunk")
"""How released weights are used by their authors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A folder of imported weights whose files match their hashes."""

    folder: Path
    facts: Mapping[str, Any]
    """The whole of `weights.json`."""

    @property
    def parts(self) -> tuple[str, ...]:
        """The available parts among image, head, flow and start."""
        return tuple(self.facts["parts"])

    @property
    def switches(self) -> Switches | None:
        """Settings that a released head needs; None without such a head."""
        values = self.facts["switches"]
        return None if values is None else Switches(**values)

    @property
    def inference(self) -> InferenceSwitches:
        """How a released head is used on videos."""
        return InferenceSwitches(**self.facts.get("inference", asdict(RELEASED)))

    def state(self, part: str) -> dict[str, Tensor]:
        """All tensors of a part by published name. Raises CheckpointError if it was not imported."""
        if part not in self.parts:
            raise CheckpointError(
                f"holds no {part} weights, only {', '.join(self.parts)}",
                where=self.folder,
                hint=f"trace import-weights --{part} {PARTS[part].file} …" if part in PARTS else "import them from BEV",
            )
        return load_tensors(self.folder / f"{part}.safetensors", hint="import the weights again, with --force")

    def raft(self, **settings: Any) -> Raft:
        """RAFT with these weights, frozen; `settings`: arguments of its constructor."""
        model = Raft(**settings)
        state = {name: value for name, value in self.state("flow").items() if ".norm3." not in name}
        fill(model, state, where=self.folder / "flow.safetensors")
        return model.requires_grad_(False).eval()

    def copy(self, part: str, folder: Path) -> None:
        """Write one part with its provenance to a folder of its own. Raises OutputError and then leaves nothing."""
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        entry = self.facts["parts"][part]
        try:
            partial.mkdir(parents=True)
            shutil.copyfile(self.folder / entry["file"], partial / entry["file"])
            text = {**self.facts, "switches": None, "inference": asdict(InferenceSwitches()), "parts": {part: entry}}
            (partial / DESCRIPTION).write_text(json.dumps(text, indent=1), encoding="utf-8")
            shutil.rmtree(folder, ignore_errors=True)
            partial.rename(folder)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise OutputError(
                f"the {part} weights were not copied: {error.strerror}", where=folder, hint="free some space"
            ) from error


def fill(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    where: Path,
    hint: str = "these weights are of the published size: --config trace",
) -> None:
    """Load all tensors of a module, strictly; batch counters may be missing. Raises CheckpointError."""
    wanted = module.state_dict()
    missing = [name for name in wanted if name not in state and not name.endswith("num_batches_tracked")]
    wrong = missing + [name for name in state if name not in wanted or state[name].shape != wanted[name].shape]
    if wrong:
        raise CheckpointError(
            f"{len(wrong):,} tensors do not fit the network: {some(wrong)}",
            where=where,
            hint=hint,
        )
    module.load_state_dict({**wanted, **state})


@contextmanager
def new_folder(folder: Path, description: str, what: str, *, force: bool) -> Iterator[Path]:
    """A partial folder to write into, which then takes the name `folder` in one step.

    `description`: the file that such a folder has; with `force` one that has it is replaced. `what` it holds, in words.
    Raises OutputError if there is something else, or if it cannot be written, and then leaves nothing.
    """
    if folder.exists() and any(folder.iterdir()) and not (force and (folder / description).is_file()):
        there = (folder / description).is_file()
        raise OutputError(
            f"holds {what} already" if there else f"is not empty and holds no {what.removeprefix('a ')}",
            where=folder,
            hint="--force replaces it, --out names another folder" if there else "give another folder with --out",
        )
    writable_folder(folder.absolute().parent)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        yield partial
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except (OSError, safetensors.SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise OutputError(
            f"the weights were not written: {str(error).splitlines()[0]}",
            where=folder,
            hint="free some space or choose another folder with --out",
        ) from error


def write(
    folder: Path,
    parts: Mapping[str, Mapping[str, Array]],
    facts: Mapping[str, Mapping[str, Any]],
    *,
    force: bool = False,
) -> None:
    """Write the folder: arrays and their descriptions by part. Raises OutputError and then leaves nothing."""
    with new_folder(folder, DESCRIPTION, "imported weights", force=force) as partial:
        described = {}
        for name, tensors in parts.items():
            file = partial / f"{name}.safetensors"
            safetensors.numpy.save_file(dict(tensors), file, metadata={"format": "pt"})
            as_any_new_file(file)
            described[name] = {"file": file.name, "sha256": sha256_of(file), **facts[name]}
        switches = asdict(Switches()) if "head" in parts else None
        text = {
            "format_version": FORMAT_VERSION,
            "switches": switches,
            "inference": asdict(RELEASED if "head" in parts else InferenceSwitches()),
            "parts": described,
        }
        (partial / DESCRIPTION).write_text(json.dumps(text, indent=1), encoding="utf-8")


def open_weights(folder: Path) -> Weights:
    """Open imported weights. Raises CheckpointError if there are none or they are damaged."""
    file = folder / DESCRIPTION
    try:
        content = content_of(file, error=CheckpointError)
        facts = parse_json(content, where=file, error=CheckpointError, hint="import the weights again")
        version, parts = facts["format_version"], facts["parts"]
        hashes = {entry["file"]: entry["sha256"] for entry in parts.values()}
    except FileNotFoundError as error:
        raise CheckpointError(
            f"holds no imported weights (there is no {DESCRIPTION})", where=folder, hint="trace import-weights --help"
        ) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"cannot be read: {error}", where=file, hint="import the weights again") from error
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"has format {version}, this version reads {FORMAT_VERSION}", where=file, hint="import the weights again"
        )
    for name, digest in hashes.items():
        part = folder / name
        if not part.is_file() or sha256_of(part) != digest:
            state = "is damaged: its SHA-256 differs" if part.is_file() else "is missing"
            raise CheckpointError(state, where=part, hint="import the weights again, with --force")
    return Weights(folder=folder, facts=facts)
