"""Archives of pictures, restored on Ray Data or in a loop; see docs/bulk.md.

`places` are folders on any file system, `inputs` lists what is in them, `records` keeps what became
of each picture, `workers` does the work, `engines` hands it out, `runs` puts them together.
"""

from mspfn_tf.bulk.runs import Summary, evaluate_archive, restore_archive

__all__ = ["Summary", "evaluate_archive", "restore_archive"]
