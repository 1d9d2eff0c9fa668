"""Where shards lie: a folder, or a URL behind a verified cache."""
