"""Run by Blender, in a process of its own: imports a GLB and writes it as FBX.

blender --background --factory-startup --python-exit-code 1 --python blender_fbx.py -- IN.glb OUT.fbx FPS WIDTH HEIGHT
"""

import math
import sys


def main() -> None:
    """Convert the file that the command line names."""
    import bpy

    source, target, fps, width, height = sys.argv[sys.argv.index("--") + 1 :]
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    # before the import, which turns the file's seconds into frames
    scene.render.fps = math.ceil(float(fps))
    scene.render.fps_base = scene.render.fps / float(fps)
    scene.render.resolution_x, scene.render.resolution_y = int(width), int(height)
    bpy.ops.import_scene.gltf(filepath=source)
    for item in list(bpy.data.objects):
        if item.name.startswith("Icosphere"):  # Blender's own, as a shape for bones
            bpy.data.objects.remove(item)
    ends = [action.frame_range[1] for action in bpy.data.actions]
    scene.frame_start, scene.frame_end = 0, math.ceil(max(ends, default=0))
    bpy.ops.export_scene.fbx(
        filepath=target,
        object_types={"ARMATURE", "MESH", "CAMERA", "EMPTY"},
        add_leaf_bones=False,
        bake_anim_simplify_factor=0,  # every frame as it is: the usual simplification moves people by centimetres
    )


if __name__ == "__main__":
    main()
