"""Build shards from datasets: plan, worker processes, resumption."""
