"""Cards of repos: their metadata, the form of a gate, and their Markdown as safe HTML."""
