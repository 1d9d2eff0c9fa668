"""Where the camera is in each frame, and with it the world that all people share (docs/camera.md)."""
