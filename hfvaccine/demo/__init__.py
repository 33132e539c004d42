"""The demo: base and adapter asked the same, side by side in a browser."""
