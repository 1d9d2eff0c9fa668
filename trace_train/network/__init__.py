"""The TRACE network: backbone, optical flow, temporal parts, heads."""
