"""Videos of results: bodies, names and skeletons on the pictures, and the world from above and from the side."""
