"""A Hub at rest: checking that all is there, and removing what nobody refers to."""
