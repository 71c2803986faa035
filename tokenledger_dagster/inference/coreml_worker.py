"""The process that runs Core ML, which cannot be stopped from within: it loads one package and answers until its end.

Here: what goes over the socket, the answering, and loading the package. Not here: starting it, deadlines and ending it
(`coreml_process`).

It imports the standard library and, to load a package, numpy and coremltools. It ends by itself when nobody listens any
more, and when one answer takes far longer than was asked for, even where the call never lets Python run again.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = [
    "ANSWER",
    "ELSEWHERE",
    "FAILED",
    "IDS",
    "LONGEST_TEXT",
    "MASK",
    "READY",
    "REQUEST",
    "VECTOR",
    "VECTOR_OF",
    "ElsewhereError",
    "Loaded",
    "core_ml",
    "main",
    "planned",
    "serve",
]

IDS, MASK, VECTOR = "input_ids", "attention_mask", "vector"
"""Names of a package's inputs, int32 [1, tokens], and of its output, float32 [1, dims]."""

REQUEST = struct.Struct("<QdI")
"""Number of the request, seconds that the answer may take, bytes of the ids, followed by ids and mask as int32."""
ANSWER = struct.Struct("<QBI")
"""Number of the request, 0 after loading; what follows; how many bytes of it."""
READY, VECTOR_OF, FAILED, ELSEWHERE = 1, 2, 3, 4
"""What follows: where it is going to run, as text; a vector, as float32; why there is none, as text; and, as text, why
it is loaded and not ready: it would run on nothing but the processor, and more was asked for."""
LONGEST_TEXT = 1_000
_CPU, _CPU_ONLY = "CPU", "CPU_ONLY"
"""What the processor is called in a plan, and how it alone is asked for."""
_GRACE_S = 2.0
"""Whoever asked ends this process at the deadline; it ends itself so many seconds later, where that one is gone."""
_LOOK_S = 5.0
"""How often it looks whether its parent lives: the socket alone does not tell where a fork of the parent holds it."""


class ElsewhereError(Exception):
    """Core ML would run all of the model on the processor, where another runtime is as good and can be stopped."""


class Loaded(NamedTuple):
    """A model, ready to be asked."""

    predict: Callable[[bytes, bytes], bytes]
    """Ids and mask of one text as int32, to its vector as float32."""
    compute_unit: str
    """Where it is going to run, e.g. "CPU_AND_NE, planned: operations N on the Neural Engine, M on the CPU"."""


def main(channel: str, parent: str, load_s: str, package: str, compute_units: str) -> None:
    """Serve a package over the socket of that number; every argument comes as a word of the command line."""
    serve(int(channel), int(parent), float(load_s), lambda: core_ml(package, compute_units))


def serve(channel: int, parent: int, load_s: float, load: Callable[[], Loaded]) -> None:
    """Load, say so, and answer until nobody listens.

    Args:
        channel: file number of a connected stream socket.
        parent: number of the process that listens; with it gone, this one ends.
        load_s: seconds that loading may take.
        load: makes the model; what it raises is sent as the reason, an ElsewhereError as what it is.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command itself ends its worker
    with socket.socket(fileno=channel) as listener, contextlib.suppress(ConnectionError):
        with _ended_after(load_s):
            try:
                predict, unit = load()
            except Exception as error:
                _send(listener, 0, ELSEWHERE if isinstance(error, ElsewhereError) else FAILED, _text(error))
                return
        _send(listener, 0, READY, unit.encode()[:LONGEST_TEXT])
        while request := _received(listener, REQUEST.size, parent):
            number, seconds, size = REQUEST.unpack(request)
            ids, mask = _received(listener, size, parent), _received(listener, size, parent)
            with _ended_after(seconds):
                try:
                    kind, data = VECTOR_OF, predict(ids, mask)
                except Exception as error:
                    kind, data = FAILED, _text(error)
            _send(listener, number, kind, data)


def core_ml(package: str, compute_units: str) -> Loaded:
    """The package, loaded by Core ML; possible on macOS alone.

    Args:
        package: folder of the package.
        compute_units: a name of `coremltools.ComputeUnit`.

    Raises:
        Exception: coremltools' own; they have no types.
        ValueError: inputs and outputs are not those of an encoder.
        ElsewhereError: more than the processor was asked for and the plan has nothing else.
    """
    import logging
    import warnings

    logging.getLogger("coremltools").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import coremltools
    import numpy as np

    units = coremltools.ComputeUnit[compute_units]
    model = coremltools.models.MLModel(package, compute_units=units)
    description = model.get_spec().description
    names = [one.name for one in (*description.input, *description.output)]
    if names != [IDS, MASK, VECTOR]:
        raise ValueError(f"{package}: takes and gives {', '.join(names)}; build the model again")

    def predict(ids: bytes, mask: bytes) -> bytes:
        given = {IDS: np.frombuffer(ids, np.int32)[None], MASK: np.frombuffer(mask, np.int32)[None]}
        return bytes(np.asarray(model.predict(given)[VECTOR], dtype=np.float32).tobytes())

    try:
        plan = coremltools.models.compute_plan.MLComputePlan.load_from_path(
            model.get_compiled_model_path(), compute_units=units
        )
        counts = planned(plan)
    except Exception as error:  # plans came with macOS 14.4; the model runs without one
        return Loaded(predict, f"{compute_units}, no plan ({type(error).__name__})")
    if compute_units != _CPU_ONLY and set(counts) == {_CPU}:
        raise ElsewhereError(f"{compute_units} was asked for and all {counts[_CPU]} operations are planned on the CPU")
    told = ", ".join(f"{count} on the {device}" for device, count in counts.items())
    return Loaded(predict, f"{compute_units}, {f'planned: operations {told}' if told else 'no plan'}")


def planned(plan: Any) -> dict[str, int]:
    """How many operations Core ML means to run on which device; it does not tell where they ran.

    Args:
        plan: a `coremltools.models.compute_plan.MLComputePlan`.

    Returns:
        Operations by device, devices without any left out.
    """
    devices = {"MLNeuralEngineComputeDevice": "Neural Engine", "MLGPUComputeDevice": "GPU", "MLCPUComputeDevice": _CPU}
    counts = dict.fromkeys(devices, 0)
    for operation in plan.model_structure.program.functions["main"].block.operations:
        usage = plan.get_compute_device_usage_for_mlprogram_operation(operation)
        if usage is not None:  # constants have none
            device = type(usage.preferred_compute_device).__name__
            counts[device] = counts.get(device, 0) + 1
    return {devices.get(device, device): count for device, count in counts.items() if count}


@contextlib.contextmanager
def _ended_after(seconds: float) -> Any:
    """Ends the process where the block takes longer: a thread of the C library does it, which needs no Python."""
    with open(os.devnull, "w") as nowhere:
        faulthandler.dump_traceback_later(seconds + _GRACE_S, exit=True, file=nowhere)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


def _received(listener: socket.socket, size: int, parent: int) -> bytes:
    """So many bytes; none where nobody is there any more."""
    data = bytearray()
    while len(data) < size:
        if not select.select([listener], [], [], _LOOK_S)[0]:
            if os.getppid() != parent:
                sys.exit()
            continue
        piece = listener.recv(size - len(data))
        if not piece:
            return b""
        data += piece
    return bytes(data)


def _send(listener: socket.socket, number: int, kind: int, data: bytes) -> None:
    listener.sendall(ANSWER.pack(number, kind, len(data)) + data)


def _text(error: Exception) -> bytes:
    return (" ".join(str(error).split()) or type(error).__name__).encode(errors="replace")[:LONGEST_TEXT]
