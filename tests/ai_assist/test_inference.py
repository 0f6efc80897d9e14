"""The runtime keeps to the card: time, number of scores, no crash."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from ai_assist.card import ModelCard
from ai_assist.errors import InferenceFailed, InferenceTimedOut
from ai_assist.inference import OnnxPredictor
from ai_assist.shelf import shipped_models

FILM = np.zeros((1, 1, 64, 64), np.float32)


def shipped_graph() -> bytes:
    (weights,) = Path(shipped_models()).glob("cxr-qc/*/models/model.onnx")
    return weights.read_bytes()


def endless_graph(rounds: int) -> bytes:
    """Return a graph that adds one to each pixel `rounds` times before it answers."""
    step = helper.make_graph(
        [
            helper.make_node("Add", ["film", "one"], ["more"]),
            helper.make_node("Identity", ["going"], ["still"]),
        ],
        "step",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("film", TensorProto.FLOAT, [1, 1, 64, 64]),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("more", TensorProto.FLOAT, [1, 1, 64, 64]),
        ],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["rounds", "go", "image"], ["scores"], body=step)],
        "endless",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 64, 64])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 1, 64, 64])],
        [
            helper.make_tensor("rounds", TensorProto.INT64, [], [rounds]),
            helper.make_tensor("go", TensorProto.BOOL, [], [True]),
            helper.make_tensor("one", TensorProto.FLOAT, [], [1.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


def test_a_model_that_takes_too_long_is_stopped(quality_card: ModelCard) -> None:
    slow = OnnxPredictor(replace(quality_card, timeout_s=0.2), endless_graph(10**9))
    with pytest.raises(InferenceTimedOut, match=r"0\.2 s"):
        slow.predict(FILM)


def test_an_input_of_another_shape_is_refused(quality_card: ModelCard) -> None:
    with pytest.raises(InferenceFailed):
        OnnxPredictor(quality_card, shipped_graph()).predict(FILM[0])


def test_another_number_of_scores_than_the_card_names_is_refused(
    quality_card: ModelCard,
) -> None:
    fewer = replace(quality_card, scores=quality_card.scores[:-1])
    with pytest.raises(InferenceFailed, match="other scores"):
        OnnxPredictor(fewer, shipped_graph()).predict(FILM)


def test_bytes_that_are_no_graph_are_refused(quality_card: ModelCard) -> None:
    with pytest.raises(InferenceFailed):
        OnnxPredictor(quality_card, b"no graph")
