"""What people want to know of a set before they fetch it."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Facts:
    """The facts of a set; its documentation is made of them.

    Attributes:
        rain: what rain it holds and how its truth came about.
        page: the name of the page at the builder's `HOMEPAGE`.
        licence: the terms, as far as they could be found.
        size: of the download, as far as it is known.
        verified: what the layout was checked against.
    """

    rain: str
    page: str
    licence: str
    size: str
    verified: str


NO_LICENCE = "none found; ask the authors before any use but research"
NO_SIZE = "not stated"
BY_PUBLIC_CODE = "public code that reads it; not checked on the pictures"
