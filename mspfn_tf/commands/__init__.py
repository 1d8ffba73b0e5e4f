"""One file per verb of the `mspfn` command: HELP, add_arguments(parser), run(arguments)."""
