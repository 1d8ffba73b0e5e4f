"""Exports: SavedModel for servers, LiteRT for phones, ONNX and OpenVINO for other programs and
processors, each compared with its model."""

from mspfn_tf.export.litert import export_litert
from mspfn_tf.export.onnx import export_onnx
from mspfn_tf.export.openvino import export_openvino
from mspfn_tf.export.saved_model import export_saved_model
from mspfn_tf.export.verification import VerificationError

__all__ = [
    "VerificationError",
    "export_litert",
    "export_onnx",
    "export_openvino",
    "export_saved_model",
]
