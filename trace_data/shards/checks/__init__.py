"""Whether shards are whole, and what repairs them."""
