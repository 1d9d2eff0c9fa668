"""HDF5 shards: format, index, writing and reading."""
