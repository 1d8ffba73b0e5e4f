"""Settings that hold for every test."""

import os

# Fewer lines of TensorFlow's own on standard error; it reads this when it is first imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
