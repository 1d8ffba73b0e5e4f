"""Exports: SavedModel for servers, LiteRT for phones, each compared with its model."""

from mspfn_tf.export.litert import export_litert
from mspfn_tf.export.saved_model import export_saved_model
from mspfn_tf.export.verification import VerificationError

__all__ = ["VerificationError", "export_litert", "export_saved_model"]
