"""Compare our RAFT with torchvision's `raft_large`, or write the small file that tests compare with instead.

    python tools/raft_golden.py              # needs torchvision; prints the largest differences
    python tools/raft_golden.py --write      # and writes tests/files/raft_golden.npz

Weights are random: drawn per tensor from its name, so that the same numbers can be made without torchvision
(`tests/support/raft_weights.py`). torchvision beside a CPU torch lacks operators that it declares and nobody here
calls: they are declared first.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from raft_weights import clip, drawn, ours, torchvision_name  # noqa: E402

GOLDEN = ROOT / "tests" / "files" / "raft_golden.npz"
STEPS = (1, 6)
"""Numbers of refinement steps that are compared."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {GOLDEN.relative_to(ROOT)}")
    options = parser.parse_args()
    library = None
    if not torch.cuda.is_available():
        library = torch.library.Library("torchvision", "DEF")  # its definitions go when it goes
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from torchvision.models.optical_flow import raft_large

    model = ours()
    theirs = raft_large(weights=None).eval()
    theirs.load_state_dict({torchvision_name(name): value for name, value in model.state_dict().items()})
    frames = clip()
    images = frames.permute(0, 1, 4, 2, 3) / 127.5 - 1.0
    kept = {}
    with torch.no_grad():
        flows = theirs(images[:, 0], images[:, 1], num_flow_updates=max(STEPS))
        for steps in STEPS:
            model.iterations = steps
            fine = flows[steps - 1]
            found = model(frames, upsample=True)[:, 0]
            difference = float((found - fine).abs().max())
            print(f"{steps} steps: largest flow {fine.abs().max():.3f} px, largest difference {difference:.2e} px")
            kept[f"flow{steps}"] = fine[..., ::5, ::5].numpy()
            assert difference < 1e-3 * float(fine.abs().max())
    del library
    if options.write:
        np.savez_compressed(GOLDEN, check=drawn("fnet.conv1.weight", (64, 3, 7, 7))[0, 0], **kept)
        print(f"{GOLDEN.relative_to(ROOT)}: {GOLDEN.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
