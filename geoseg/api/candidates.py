"""The engines and precisions that a workflow leaves to a trial, the likeliest to be fast first."""

from __future__ import annotations

from geoseg.models.engines import ENGINES, ONLY_ASKED, PRECISIONS, Runtime, has_bf16, is_installed

# As fast as they were where it was measured: a trial ends with the first that gains enough.
_FIRST = (
    Runtime("openvino", "bf16"),
    Runtime("onnxruntime"),
    Runtime("openvino"),
    Runtime("torch", "bf16"),
)


def fitting(engine: str, numbers: str, *, installed: bool = True) -> list[Runtime]:
    """All that fits what is asked for, each of which may be ``"auto"``.

    Args:
        engine: What is asked for.
        numbers: In which precision.
        installed: Of those that nobody asked for only such as this machine has.
    """
    fits = [
        Runtime(name, kind)
        for name in ENGINES
        for kind in PRECISIONS[name]
        if (
            name == engine
            or (
                engine == "auto"
                and name not in ONLY_ASKED
                and (is_installed(name) or not installed)
            )
        )
        and (kind == numbers or (numbers == "auto" and kind not in ONLY_ASKED))
    ]
    if numbers == "auto" and not has_bf16():
        fits = [one for one in fits if one.precision != "bf16"]
    return [one for one in _FIRST if one in fits] + [one for one in fits if one not in _FIRST]
