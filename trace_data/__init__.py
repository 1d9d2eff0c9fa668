"""A toolkit for TRACE, the part without torch: what is on disk."""
