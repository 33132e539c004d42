"""From claim to results: what an adapter's papers say it was made from, and whether that holds."""
