"""CDF files of a few numbers, written by cdflib."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from cdflib.cdfwrite import CDF

POSE = np.random.default_rng(0).normal(size=(1, 7, 6)).astype(np.float32)


def write_cdf(
    file: Path, majority: str = "Row_major", encoding: int = 6, packed: int = 0, packed_file: int = 0
) -> Path:
    cdf = CDF(file, cdf_spec={"Majority": majority, "Encoding": encoding, "Compressed": packed_file}, delete=True)
    shape = {"Num_Elements": 1, "Rec_Vary": True, "Compress": packed}
    cdf.write_var(
        {"Variable": "Other", "Data_Type": 4, "Dim_Sizes": [], **shape}, var_data=np.arange(5, dtype=np.int32)
    )
    cdf.write_var({"Variable": "Pose", "Data_Type": 44, "Dim_Sizes": [7, 6], **shape}, var_data=POSE)
    cdf.close()
    return file
