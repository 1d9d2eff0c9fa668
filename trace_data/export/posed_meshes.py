"""OBJ and PLY: one posed mesh a person and frame, pose correctives included. Y up, right-handed, metres.

Source: docs/reference/export.md#obj-and-ply. Vertices are in the body model's order. Blender turns OBJ files, which it
takes for Y up, and does not turn PLY files.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def obj_text(vertices: Array, faces: npt.NDArray[np.integer]) -> str:
    """A mesh of vertices (V, 3) and faces (F, 3), counted from 0."""
    points = "\n".join(["v %.6f %.6f %.6f"] * len(vertices)) % tuple(vertices.reshape(-1).tolist())
    corners = "\n".join(["f %d %d %d"] * len(faces)) % tuple((faces.astype(np.int64) + 1).reshape(-1).tolist())
    return f"{points}\n{corners}\n"


def ply_bytes(vertices: Array, faces: npt.NDArray[np.integer]) -> bytes:
    """The same as binary PLY, little-endian."""
    head = (
        "ply\nformat binary_little_endian 1.0\ncomment metres, Y up\n"
        f"element vertex {len(vertices)}\nproperty float x\nproperty float y\nproperty float z\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    rows = np.empty(len(faces), dtype=[("count", "u1"), ("corners", "<i4", 3)])
    rows["count"], rows["corners"] = 3, faces
    return head.encode() + vertices.astype("<f4").tobytes() + rows.tobytes()
