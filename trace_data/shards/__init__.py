"""HDF5 shards: format, index, writing, reading."""
