"""The page of `mspfn app`: plain files, and `server`, which knows which and serves them."""
