"""Files, folders and videos through the `Restorer`: what is to be done, who does it, and where
the results go."""
