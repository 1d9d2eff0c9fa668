"""Run by a Python that has Blender (`bpy`): poses a GLB at some times and writes what it finds.

python pose_in_blender.py IN.glb ASKED.npz FOUND.npz

ASKED: `fps`, `size` (2), `time` (n,) s, `person` (P,) names of people, `joint` (24,) names, `points` (n, K, 3) m, Y up.
FOUND: `joints` (n, P, 24, 3) and `vertices` (n, P, V, 3), m, Y up; `pixels` (n, K, 2), from the picture's corner;
`hidden` (n, P).
"""

import math
import sys

import bpy
import numpy as np
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector

source, asked_file, found_file = sys.argv[-3:]
asked = np.load(asked_file)
fps, (width, height) = float(asked["fps"]), asked["size"]
bpy.ops.wm.read_factory_settings(use_empty=True)
scene = bpy.context.scene
scene.render.fps, scene.render.fps_base = math.ceil(fps), math.ceil(fps) / fps
scene.render.resolution_x, scene.render.resolution_y = int(width), int(height)
bpy.ops.import_scene.gltf(filepath=source)
assert len(bpy.data.actions) == 1, "one animation for everything"


def y_up(points):
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], axis=-1)


joints, vertices, pixels, hidden = [], [], [], []
for time, points in zip(asked["time"], asked["points"]):
    frame = time * fps
    whole = math.floor(frame + 1e-6)
    scene.frame_set(whole, subframe=max(frame - whole, 0.0))
    graph = bpy.context.evaluated_depsgraph_get()
    for person in asked["person"]:
        skeleton = bpy.data.objects[str(person)].evaluated_get(graph)
        mesh = bpy.data.objects[f"{person}_mesh"].evaluated_get(graph)
        joints.append([skeleton.matrix_world @ skeleton.pose.bones[str(name)].head for name in asked["joint"]])
        vertices.append([mesh.matrix_world @ vertex.co for vertex in mesh.to_mesh().vertices])
        hidden.append(max(skeleton.matrix_world.to_scale()) < 0.01)
    camera = next(item for item in bpy.data.objects if item.type == "CAMERA").evaluated_get(graph)
    for x, y, z in points:
        seen = world_to_camera_view(scene, camera, Vector((x, -z, y)))
        pixels.append((seen.x * width, (1 - seen.y) * height))
shape = (len(asked["time"]), len(asked["person"]))
np.savez(
    found_file,
    joints=y_up(np.array(joints)).reshape(*shape, -1, 3),
    vertices=y_up(np.array(vertices)).reshape(*shape, -1, 3),
    pixels=np.array(pixels).reshape(shape[0], -1, 2),
    hidden=np.array(hidden).reshape(shape),
)
