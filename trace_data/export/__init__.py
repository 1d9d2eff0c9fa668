"""Results in the formats of other programs. Each writer states its axes, units and rate. No torch.

Source: docs/reference/export.md. A writer takes a result whose world is already turned, cut and smoothed
(`trace_data/results`), and returns bytes; `run.py` names the files and writes them.
"""
