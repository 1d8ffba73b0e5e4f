"""Pictures in files: read with everything that must survive restoring, written without surprises.

Inside the package a picture is ``uint8 [H, W, 3]`` (``uint16`` where the file has 16 bits per
channel), RGB, upright. What a file holds besides (alpha channel, being gray, metadata) travels next
to it in a `Picture`, so that `write_picture` can put it back.
"""

from mspfn_tf.pictures.formats import (
    IMAGE_SUFFIXES,
    PICTURE_SUFFIXES,
    ImageError,
    check_writable,
    find_images,
    kind_of,
    kind_of_bytes,
    suffix_of,
)
from mspfn_tf.pictures.picture import Picture, to_uint8
from mspfn_tf.pictures.reader import (
    Header,
    limit_pixels,
    read_header,
    read_picture,
    read_pictures,
    read_rgb,
)
from mspfn_tf.pictures.writer import write_picture, write_pictures

__all__ = [
    "IMAGE_SUFFIXES",
    "PICTURE_SUFFIXES",
    "Header",
    "ImageError",
    "Picture",
    "check_writable",
    "find_images",
    "kind_of",
    "kind_of_bytes",
    "limit_pixels",
    "read_header",
    "read_picture",
    "read_pictures",
    "read_rgb",
    "suffix_of",
    "to_uint8",
    "write_picture",
    "write_pictures",
]
