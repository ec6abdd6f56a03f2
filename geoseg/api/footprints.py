"""What engines take of workers' memory: those that a workflow may be computed by, and the one taken."""

from __future__ import annotations

from geoseg.api.candidates import fitting
from geoseg.models.engines import Footprint, Runtime, memory_of, version_of
from geoseg.run.resources import visible_gpus
from geoseg.workflow import Workflow


def may_take(workflow: Workflow, *, gpu: bool) -> tuple[Footprint, ...]:
    """Of each engine that may come to compute a scene, on what it may compute on.

    ``gpu`` says whether workers have one, as of :func:`on_gpu`.
    """
    choice, found = workflow.model, []
    runtimes = fitting(choice.engine, choice.numbers, installed=False)
    # Torch in fp32 is what a scene gets where nothing else agrees, or gains.
    for one in runtimes + [Runtime()] * (choice.engine == "auto"):
        found.append(taken(workflow, one, gpu=gpu))
        if choice.device != "cuda":
            # A GPU that is only seen may turn out to be one that torch cannot use.
            found.append(memory_of(one))
    return tuple(dict.fromkeys(found))


def taken(workflow: Workflow, runtime: Runtime, *, gpu: bool) -> Footprint:
    """Of the engine that computes a scene; ``gpu`` says whether workers have one."""
    device, by_torch = workflow.model.device, runtime.engine in {"torch", "torch-compile"}
    return memory_of(runtime, gpu=device == "cuda" or (device == "auto" and gpu and by_torch))


def on_gpu(workflow: Workflow) -> bool:
    """Whether workers compute on GPUs, as far as that is known before they are asked."""
    device, cluster = workflow.model.device, workflow.cluster
    if device != "auto":
        return device == "cuda"
    if cluster.kind == "cuda" or cluster.gpu is not None:
        return True
    # Torch's builds without CUDA call themselves so, where pip brought them.
    has_cuda = not version_of("torch").endswith("+cpu")
    return cluster.kind == "local" and has_cuda and bool(visible_gpus())
