"""What makes the documentation and releases weights: `python -m tools.<name>`; not installed."""
