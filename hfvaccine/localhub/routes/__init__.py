"""One module per subject; each lists its `ROUTES`."""
