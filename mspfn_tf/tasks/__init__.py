"""What deraining does for a detector or a segmenter: `mspfn evaluate-task`, and task networks."""
