"""Error measures on plain tensors."""
