"""What can be wrong with claims: lint, cues, overlap with evaluation sets, and the split by cluster."""
