"""Whether dataset folders hold what they should: layout, content, geometry, manifests."""
