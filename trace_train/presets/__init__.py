"""Named configurations as YAML."""
