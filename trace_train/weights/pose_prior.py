"""Reads a pose prior in the form of SMPLify's `gmm_08.pkl`, only if its loss has a weight."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from trace_data.errors import AssetError
from trace_data.unpickle.reader import load_pickle, to_array
from trace_train.losses.prior import PosePrior

FULL, USED = 69, 63
"""Dimensions of a pose in the file, and of the 21 joints that the network predicts, without hands."""
HINT = "supervision.pose_prior_file: gmm_08.pkl of the SMPLify release, or what trace fit-pose-prior writes"


def read_pose_prior(file: Path) -> PosePrior:
    """Read the mixture. Raises AssetError if the file is missing or something else."""
    content = load_pickle(file)
    if not isinstance(content, dict) or (missing := {"means", "covars", "weights"} - set(content)):
        what = f"lacks {', '.join(sorted(missing))}" if isinstance(content, dict) else "is no dictionary"
        raise AssetError(f"{what}, expected means, covars and weights", where=file, hint=HINT)
    means = to_array(content["means"], name="means", shape=(None, FULL), where=file)
    covariances = to_array(content["covars"], name="covars", shape=(len(means), FULL, FULL), where=file)
    weights = to_array(content["weights"], name="weights", shape=(len(means),), where=file)
    sign, log_determinant = np.linalg.slogdet(covariances)
    if (sign <= 0).any() or (weights <= 0).any():
        raise AssetError("holds a covariance or weight that is not positive", where=file, hint=HINT)
    # published: weights over (2 pi)^(69/2) and the root of the determinant, relative to the smallest
    narrowness = 0.5 * (log_determinant - log_determinant.min())
    constants = 0.5 * FULL * np.log(2 * np.pi) + narrowness - np.log(weights)
    return PosePrior(
        means=torch.from_numpy(means[:, :USED]).float(),
        precisions=torch.from_numpy(np.linalg.inv(covariances)[:, :USED, :USED]).float(),
        constants=torch.from_numpy(constants).float(),
    )
