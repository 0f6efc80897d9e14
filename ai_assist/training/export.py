"""The trained network as an ONNX graph."""

import warnings
from io import BytesIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ai_assist.training.evaluate import Scorer
from ai_assist.training.network import SIDE, Scored

OPSET = 17


def to_onnx(network: nn.Module) -> bytes:
    """Return the graph: ``image`` (films, 1, 64, 64) float32 -> ``scores`` (films, 7)."""
    scored = Scored(network).eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    target = BytesIO()
    with warnings.catch_warnings():
        # The tracing exporter is old, but writes one plain graph without further packages.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            scored,
            (torch.zeros(1, 1, SIDE, SIDE),),
            target,  # type: ignore[arg-type]
            input_names=["image"],
            output_names=["scores"],
            dynamic_axes={"image": {0: "films"}, "scores": {0: "films"}},
            opset_version=OPSET,
            dynamo=False,
        )
    return target.getvalue()


def onnx_scorer(graph: bytes) -> Scorer:
    """Return a scorer that runs the very graph that is shipped: (n, 1, 64, 64) -> (n, 7)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def score(films: NDArray[np.float32]) -> NDArray[np.float32]:
        (scores,) = session.run(None, {"image": films.reshape(-1, 1, SIDE, SIDE)})
        return np.asarray(scores, dtype=np.float32)

    return score
