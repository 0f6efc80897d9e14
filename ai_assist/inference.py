"""Run a model's graph on the processor; the only place that opens onnxruntime."""

import threading
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ai_assist.card import ModelCard
from ai_assist.errors import InferenceFailed, InferenceTimedOut

SCORE_DIGITS = 4  # finer than any threshold, coarser than what processors differ in


class Predictor(Protocol):
    """What a loaded model can do."""

    def predict(self, tensor: NDArray[np.float32]) -> Mapping[str, float]:
        """Return the scores of one image by name, each in [0, 1].

        Raises
        ------
        InferenceFailed
            The graph refused the input, or gave what is not a score.
        InferenceTimedOut
            It took longer than the card allows.
        """


class OnnxPredictor:
    """A graph in memory, made from bytes that were verified, with the card's limits.

    onnxruntime runs arithmetic only: no code of the bundle is executed and nothing is fetched.
    It is imported when the first model is loaded, not with this module.
    """

    def __init__(self, card: ModelCard, graph: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = card.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(
                graph, sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its errors share no base class
            raise InferenceFailed("the model's graph cannot be loaded", model=card.id) from error
        self._run_options = onnxruntime.RunOptions
        self._card = card
        self._input = self._session.get_inputs()[0].name

    def predict(self, tensor: NDArray[np.float32]) -> Mapping[str, float]:
        """See `Predictor.predict`; `tensor` is (1, 1, side, side)."""
        scores = self._scores(tensor)
        if scores.shape != (len(self._card.scores),) or not np.isfinite(scores).all():
            raise InferenceFailed("the model gave other scores than its card names")
        return {
            name: round(min(1.0, max(0.0, float(score))), SCORE_DIGITS)
            for name, score in zip(self._card.scores, scores, strict=True)
        }

    def _scores(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        options = self._run_options()
        out_of_time = threading.Event()

        def stop() -> None:
            out_of_time.set()
            options.terminate = True

        alarm = threading.Timer(self._card.timeout_s, stop)
        alarm.daemon = True
        alarm.start()
        try:
            (batch,) = self._session.run(None, {self._input: tensor}, options)
        except Exception as error:  # its errors share no base class
            if out_of_time.is_set():
                raise InferenceTimedOut(
                    f"the model took longer than {self._card.timeout_s:g} s"
                ) from error
            raise InferenceFailed("the model could not be run on this image") from error
        finally:
            alarm.cancel()
        scores: NDArray[np.float32] = np.asarray(batch, dtype=np.float32)[0]
        return scores
