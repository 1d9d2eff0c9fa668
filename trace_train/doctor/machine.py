"""The machine and its libraries. Each is imported, because an installed library may fail to load."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
from pathlib import Path

import torch

from trace_data.drawing.pytorch3d import best_rasteriser
from trace_data.frames.video_writer import INSTALL, choose_encoder
from trace_train.doctor.findings import DoctorFinding
from trace_train.network.deform import TORCHVISION, implementation
from trace_train.streaming.gpu_decoder import nvjpeg_decoder

REQUIRED = ("numpy", "scipy", "h5py", "opencv-python-headless", "simplejpeg", "safetensors", "pydantic", "fsspec")
"""Required distributions whose versions matter in bug reports."""
EXTRAS = {
    "s3fs": ("shards on S3", "pip install s3fs"),
    "aiohttp": ("shards on a web server", "pip install aiohttp"),
    "ray": ("building shards on a Ray cluster", "pip install ray"),
}
"""Optional packages: purpose, and how to install them."""
TROUBLE = (ImportError, RuntimeError, OSError, AttributeError)
"""Errors raised when importing an incompatible build of a library."""


def machine(home: Path) -> list[DoctorFinding]:
    """Python, processor, memory, disk, GPUs."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    standing = next(folder for folder in (home, *home.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(standing).free
    findings = [
        _ok("machine", "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        _ok("machine", "processor", f"{cores} cores, {_memory()}"),
        _ok("machine", "disk", f"{free / 1e9:,.0f} GB free at {standing}"),
    ]
    native = bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())
    if not torch.cuda.is_available():
        built = f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "torch is a CPU build"
        findings.append(
            DoctorFinding(
                group="machine",
                name="GPU",
                state="absent",
                found=f"none that torch can use; {built}",
                meaning="training the published size",
                hint="trace train --config debug  trains a small network on the CPU",
            )
        )
        findings.append(_ok("machine", "bf16", "native on this CPU" if native else "not native on this CPU: float32"))
        return findings
    for number in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(number)
        findings.append(_ok("machine", f"GPU {number}", f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB"))
    bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    findings.append(_ok("machine", "bf16", "native on the GPU" if bf16 else "not native on the GPU: float32"))
    return findings


def libraries() -> list[DoctorFinding]:
    """torch, related libraries, and optional packages."""
    cuda = f", CUDA {torch.version.cuda}" if torch.version.cuda else ", CPU build"
    findings = [_ok("library", "torch", f"{torch.__version__}{'' if '+' in torch.__version__ else cuda}")]
    findings += [_ok("library", name, version) for name in REQUIRED if (version := _version(name))]
    findings += _torchvision()
    loads, found = _try("pytorch3d")
    findings.append(
        DoctorFinding(
            group="library",
            name="pytorch3d",
            state="ok" if loads else "absent",
            found=found,
            meaning="draws bodies on the GPU (trace predict --draw); nothing needs it",
        )
    )
    findings.append(_ok("library", "bodies are drawn by", best_rasteriser().name))
    encoder = choose_encoder()
    findings.append(
        DoctorFinding(
            group="library",
            name="video encoder",
            state="ok" if encoder.is_video else "absent",
            found=encoder.name,
            meaning="trace predict --draw writes MP4",
            hint="" if encoder.is_video else INSTALL,
        )
    )
    compiler = next((name for name in (os.environ.get("CXX"), "g++", "clang++") if name and shutil.which(name)), None)
    findings.append(
        DoctorFinding(
            group="library",
            name="C++ compiler",
            state="ok" if compiler else "absent",
            found=str(shutil.which(compiler)) if compiler else "none found",
            meaning="torch.compile",
            hint="" if compiler else "install g++; without it networks run uncompiled",
        )
    )
    for name, (use, how) in EXTRAS.items():
        loads = importlib.util.find_spec(name) is not None
        findings.append(
            DoctorFinding(
                group="library",
                name=name,
                state="ok" if loads else "absent",
                found=(_version(name) or "installed") if loads else "not installed",
                meaning=use,
                hint="" if loads else how,
            )
        )
    return findings


def _torchvision() -> list[DoctorFinding]:
    loads, found = _try("torchvision")
    how = "install the torchvision that belongs to this torch and its CUDA"
    findings = [
        DoctorFinding(
            group="library",
            name="torchvision",
            state="ok" if loads else "absent" if found == "not installed" else "problem",
            found=found,
            meaning="its operators are faster where they load; nothing requires it",
            hint="" if loads else how,
        )
    ]
    taken = implementation(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    findings.append(
        DoctorFinding(
            group="library",
            name="deformable convolution",
            state="ok",
            found="torchvision's operator" if taken == TORCHVISION else "our own, in plain torch",
            meaning="motion alignment of the temporal features",
        )
    )
    decoder = torch.cuda.is_available() and nvjpeg_decoder(torch.device("cuda")) is not None
    findings.append(
        DoctorFinding(
            group="library",
            name="nvJPEG",
            state="ok" if decoder else "absent",
            found="decodes on the GPU" if decoder else "not here: frames are decoded on the CPU",
            meaning="data.decode=gpu",
            hint="" if decoder or not torch.cuda.is_available() else how,
        )
    )
    return findings


def _ok(group: str, name: str, found: str) -> DoctorFinding:
    return DoctorFinding(group=group, name=name, state="ok", found=found)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _try(module: str) -> tuple[bool, str]:
    """Whether a module can be imported, and its version or the error."""
    if importlib.util.find_spec(module) is None:
        return False, "not installed"
    try:
        loaded = importlib.import_module(module)
    except TROUBLE as error:
        lines = str(error).splitlines() or [type(error).__name__]
        return False, f"{_version(module) or 'installed'}, but does not load beside this torch: {lines[0][:90]}"
    return True, str(getattr(loaded, "__version__", "installed"))


def _memory() -> str:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return "memory unknown"
    return f"{size / 2**30:.0f} GiB"
