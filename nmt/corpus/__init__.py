"""From parallel text to batches: fetching, preparing, prepared corpora on disk, batching."""
