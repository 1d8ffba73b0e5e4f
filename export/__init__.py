"""Exports: SavedModel for servers, LiteRT for phones, each compared with its model."""

from mspfn_tf.export.litert import export_litert
from mspfn_tf.export.parity import Disagreement
from mspfn_tf.export.saved_model import export_saved_model

__all__ = ["Disagreement", "export_litert", "export_saved_model"]
