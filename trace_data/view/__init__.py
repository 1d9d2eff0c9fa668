"""Results and annotated sequences on one page that opens from disk: the picture, and beside it the world in 3D.

Source: docs/reference/export.md#page-from-disk. `scene.py` is what is shown, made `from_result.py` or `from_shards.py`;
`packing.py` turns it into numbers, `page.py` into a page whose script is `math.js`, `drawing.js` and `page.js`.
"""
