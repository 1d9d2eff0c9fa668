"""The synthetic sample world: a free body model and five datasets in official layouts, independent of the adapters."""
