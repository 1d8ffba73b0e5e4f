"""The page of `mspfn app`: plain files, no Python. `mspfn_tf.web_page` knows which."""
