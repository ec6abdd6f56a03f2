"""Networks as segmenters, run by OpenVINO on a CPU, in fp32 or bf16."""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from geoseg.errors import ModelError
from geoseg.models.base import ModelCard
from geoseg.models.engines import check_precision
from geoseg.models.graph_engine import Floats, GraphSegmenter, check_graph, first_line
from geoseg.models.intact import read_weights
from geoseg.models.registry import ModelPackage

_KINDS: Final = {"fp32": "f32", "bf16": "bf16"}


class OpenVinoSegmenter(GraphSegmenter):
    """Implements :class:`geoseg.models.base.Segmenter`.

    The graph is compiled for each shape of chip, when it first comes: runs have one shape, or one
    for each scale. Threads that call at once have a stream each, and a request of their own;
    where there are more of them than ``callers``, they take turns.

    Args:
        card: What the network needs and gives.
        path: The ONNX file, for messages.
        data: What it holds.
        device: ``"auto"`` or ``"cpu"``.
        precision: ``"fp32"``, or ``"bf16"`` where the CPU computes in it.
        threads: CPU threads for one chip; None: all that OpenVINO takes.
        callers: How many threads may compute chips of their own at once.

    Raises:
        ModelError: OpenVINO is missing, the file is not what the card says, or the device or
            precision is none of its own.
    """

    def __init__(
        self,
        card: ModelCard,
        path: Path,
        data: bytes,
        *,
        device: str = "auto",
        precision: str = "fp32",
        threads: int | None = None,
        callers: int = 1,
    ) -> None:
        check_precision("openvino", precision)
        if device not in ("auto", "cpu"):
            raise ModelError(
                f"device {device!r}: OpenVINO is used on CPUs only: wanted auto or cpu"
            )
        self._core = _core()
        self._settings = self._configured(precision, threads, callers)
        try:
            self._graph = self._core.read_model(io.BytesIO(data))
        except Exception as error:  # it raises classes of its own
            raise ModelError(
                f"{path}: not ONNX that OpenVINO can open: {first_line(error)}"
            ) from error
        shape = self._graph.inputs[0].get_partial_shape()
        free = shape[2].is_dynamic or shape[3].is_dynamic
        sides = None if free else (shape[2].get_length(), shape[3].get_length())
        super().__init__(card, str(path), sides)
        check_graph(card, str(path), bands=shape[1].get_length(), sides=sides)
        self._check_shapes()
        self._compiled: dict[tuple[int, ...], Any] = {}
        self._compiling, self._own = threading.Lock(), threading.local()

    @classmethod
    def load(
        cls,
        package: ModelPackage,
        *,
        device: str = "auto",
        precision: str = "fp32",
        threads: int | None = None,
        callers: int = 1,
    ) -> Self:
        """The model of a package whose weights are ONNX."""
        if package.weights is None:
            raise ModelError(f"model {package.card.name!r} has no weights")
        data, _ = read_weights(package.weights, package.card.sha256)
        return cls(
            package.card,
            package.weights,
            data,
            device=device,
            precision=precision,
            threads=threads,
            callers=callers,
        )

    @property
    def parallel(self) -> bool:
        """Every thread has a request of its own."""
        return True

    def _compute(self, x: Floats) -> Floats:
        found: Floats = self._request(x.shape).infer({0: x}, share_inputs=True, share_outputs=True)[
            0
        ]
        return found  # its memory is the request's own: used up before the thread asks again

    def _request(self, shape: tuple[int, ...]) -> Any:
        """The calling thread's own request for chips of a shape."""
        mine: dict[tuple[int, ...], Any] | None = getattr(self._own, "requests", None)
        if mine is None:
            mine = self._own.requests = {}
        if shape not in mine:
            with self._compiling:
                if shape not in self._compiled:
                    graph = self._graph.clone()
                    graph.reshape(list(shape))
                    self._compiled[shape] = self._core.compile_model(graph, "CPU", self._settings)
                mine[shape] = self._compiled[shape].create_infer_request()
        return mine[shape]

    def _configured(self, precision: str, threads: int | None, callers: int) -> dict[str, Any]:
        if precision == "bf16":
            able = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
            if "BF16" not in able:
                raise ModelError(
                    f"precision 'bf16': OpenVINO finds no bf16 in this CPU (it computes in "
                    f"{', '.join(able)}): use fp32"
                )
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": _KINDS[precision],
            # Several worker processes share the cores: none may hold on to one.
            "ENABLE_CPU_PINNING": False,
        }
        if threads is not None:
            streams = max(1, callers)
            settings |= {"NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": streams * threads}
        return settings

    def _check_shapes(self) -> None:
        """Refuse a network whose answer to a small chip is not as its card says; computes none."""
        side = self._small_side()
        graph = self._graph.clone()
        try:
            graph.reshape([1, len(self.card.bands), side, side])
            found = graph.outputs[0].get_partial_shape()
            shape = tuple(int(n.get_length()) for n in list(found)[1:])
        except Exception as error:  # it raises classes of its own
            raise self._not_taken(side, error) from error
        self._check_answer(shape, side)


_loading = threading.Lock()


def _core() -> Any:
    """OpenVINO's plugins, loaded once and for as long as the process lasts."""
    with _loading:  # a cache lets two first callers in at once
        return _loaded()


@cache
def _loaded() -> Any:
    """See :func:`_core`.

    The thread that loads the CPU plugin gets another stack for its signals, which is freed with
    the plugin: it would die of the next Ctrl-C. So that is a thread of its own, which ends.
    """
    core = load_openvino().Core()
    with ThreadPoolExecutor(1, thread_name_prefix="openvino") as apart:
        apart.submit(_warmed, core).result()
    return core


def _warmed(core: Any) -> None:
    """One request for a graph that does nothing, before threads make theirs.

    What OpenVINO's binding to Python sets up in its first request is guarded by a lock that is
    waited for with the interpreter's own in hand: two first requests at once may wait for each
    other for ever, as seen with two chips on a machine that was busy.
    """
    openvino = load_openvino()
    x = openvino.opset13.parameter([1, 1, 1, 1], np.float32)
    graph = openvino.Model([openvino.opset13.relu(x)], [x], "nothing")
    request = core.compile_model(graph, "CPU").create_infer_request()
    nothing = np.zeros((1, 1, 1, 1), np.float32)
    request.infer({0: nothing}, share_inputs=True, share_outputs=True)[0]


def load_openvino() -> Any:
    """The package, if it is there.

    Raises:
        ModelError: It is not.
    """
    try:
        import openvino  # noqa: PLC0415 (may be missing)
    except ImportError as error:
        raise ModelError(
            "engine 'openvino': OpenVINO is not installed here: pip install 'geoseg[openvino]'"
        ) from error
    return openvino
