"""Sampling of clips: the order is a pure function of seed, epoch and position."""
