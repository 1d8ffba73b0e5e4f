"""`python -m mspfn_tf` is the `mspfn` command."""

import sys

from mspfn_tf.cli import main

if __name__ == "__main__":
    sys.exit(main())
