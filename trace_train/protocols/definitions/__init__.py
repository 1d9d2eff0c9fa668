"""The protocols that `--protocol` knows by name, a YAML file each."""
