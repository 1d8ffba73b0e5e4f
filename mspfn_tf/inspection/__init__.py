"""Model files from strangers, looked at before a runtime opens them."""
