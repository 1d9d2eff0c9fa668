"""Pictures of people: skeletons, shaded meshes and contact sheets, in the same colours everywhere.

Images are (H, W, 3) uint8 RGB.
"""

from trace_data.drawing.colours import ANNOTATED, MESH, PREDICTED, Colour, Picture, colour_of, pale
from trace_data.drawing.mesh import MeshPainter, Painted, Surface, draw_mesh, laid_over
from trace_data.drawing.sheets import contact_sheet, data_uri, write_corner
from trace_data.drawing.skeleton import draw_line, draw_skeleton

__all__ = [
    "ANNOTATED",
    "MESH",
    "PREDICTED",
    "Colour",
    "MeshPainter",
    "Painted",
    "Picture",
    "Surface",
    "colour_of",
    "contact_sheet",
    "data_uri",
    "draw_line",
    "draw_mesh",
    "draw_skeleton",
    "laid_over",
    "pale",
    "write_corner",
]
