"""The warping family: the pose descriptor moves the person's own face mesh, and the mesh moves the person's photos."""
