"""What is computed once on the stored frames and kept beside the shards: optical flow."""
