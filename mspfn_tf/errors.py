"""The one exception for what a user can put right."""


class UsageError(ValueError):
    """Wrong usage or configuration: the message names what was received, what was expected and
    what to do. The `mspfn` command prints it and exits with status 2."""
