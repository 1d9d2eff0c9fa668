"""The synthetic world: a free body and five datasets in their official layouts, independent of the readers."""
