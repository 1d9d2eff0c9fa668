"""PyTorch3D's rasteriser, where the user's environment has it."""

from __future__ import annotations

import importlib.util

import numpy as np
import numpy.typing as npt

from trace_data.drawing.raster import Array, DepthBuffer, Raster, Rasteriser


class PyTorch3D:
    """Rasterises on `device`. Raises ImportError where PyTorch3D is missing or does not load."""

    def __init__(self, device: str = "cuda") -> None:
        from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
        from pytorch3d.structures import Meshes

        self.name = f"PyTorch3D on {device}"
        self._device, self._rasterise, self._meshes = device, rasterize_meshes, Meshes

    def __call__(self, corners: Array, depth: Array, size: tuple[int, int]) -> Raster:
        """See `Rasteriser`."""
        import torch

        height, width = size
        # its axes point left and up; the shorter side reaches from -1 to 1, and pixels are squares with centres
        # at half numbers
        places = (np.array([width - 1, height - 1]) - 2 * corners) / min(size)
        vertices = torch.from_numpy(np.concatenate([places, depth[..., None]], axis=-1)).float().reshape(-1, 3)
        faces = torch.arange(len(vertices)).reshape(-1, 3)
        mesh = self._meshes(verts=[vertices.to(self._device)], faces=[faces.to(self._device)])
        found, _, share, _ = self._rasterise(
            mesh, image_size=size, blur_radius=0.0, faces_per_pixel=1, perspective_correct=False, cull_backfaces=False
        )
        front: npt.NDArray[np.int64] = found[0, :, :, 0].reshape(-1).cpu().numpy()
        pixel = np.flatnonzero(front >= 0)
        face = front[pixel]
        shares = share[0, :, :, 0].reshape(-1, 3).cpu().numpy()[pixel].astype(np.float64)
        return Raster(pixel=pixel, face=face, share=shares, depth=1 / (shares / depth[face]).sum(1))


def best_rasteriser() -> Rasteriser:
    """PyTorch3D's where it loads and there is a GPU, else our own."""
    if importlib.util.find_spec("pytorch3d") is None:
        return DepthBuffer()
    try:
        import torch

        return PyTorch3D("cuda") if torch.cuda.is_available() else DepthBuffer()
    except (ImportError, RuntimeError, OSError, AttributeError):  # a build for another torch
        return DepthBuffer()
