"""The network that ships with the package, trained on the synthetic sample world alone (docs/learning.md). CC0 1.0."""
