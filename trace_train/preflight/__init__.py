"""Everything that can be checked before the first step of a run."""
