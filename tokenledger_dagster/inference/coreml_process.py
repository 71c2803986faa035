"""A worker process with a deadline: asked over a socket, and killed when it does not answer in time.

Here: starting the process, one question and its answer, ending it. Not here: what it computes (`coreml_worker`), and
when another one is started (`coreml_backend`).

What comes over the socket is not trusted: an answer of another size, to another question, or to none ends the process.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Sequence

from tokenledger_dagster.inference.backend import BackendError, BackendTimeoutError, LoadRefusedError
from tokenledger_dagster.inference.coreml_worker import (
    ANSWER,
    ELSEWHERE,
    FAILED,
    LONGEST_TEXT,
    READY,
    REQUEST,
    VECTOR_OF,
)
from tokenledger_dagster.printable import printable

__all__ = ["WorkerProcess"]

_BOOT = (
    "import sys; sys.path[:] = sys.argv[1].split(chr(10)); from importlib import import_module; "
    "module, name = sys.argv[2].split(':'); getattr(import_module(module), name)(*sys.argv[3:])"
)
_FLOAT_BYTES = 4
_LAST_WORDS_S = 0.5
"""How long a process whose socket is closed may take to end by itself: it tidies up, and its exit code can be told."""


class WorkerProcess:
    """One process from its start to its end. Not for several threads at once, except `kill`.

    It ends with this object, with the interpreter, and with this process however that ends.
    """

    def __init__(self, target: str, arguments: Sequence[str], *, load_s: float) -> None:
        """Start it and return at once; it is ready when `ready` says so.

        Args:
            target: "<module>:<function>" called in the process with the number of its socket, the number of this
                process, `load_s`, and the arguments, all of them as text.
            arguments: further words.
            load_s: seconds after which it counts as hung if it is not ready.

        Raises:
            BackendError: the system starts no process.
        """
        # Core ML compiles packages into the folder for temporary files, and who is killed clears nothing away
        temporary = ""
        try:
            temporary = tempfile.mkdtemp(prefix="tokenledger-coreml-")
            self._process, self._channel = _started(target, [str(load_s), *arguments], temporary)
        except (OSError, ValueError) as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise BackendError(f"Core ML worker: cannot be started ({error})") from error
        self._owner = os.getpid()
        self._expired_at = time.monotonic() + load_s
        self._number = 0
        self.end = weakref.finalize(self, _end, self._owner, self._process, self._channel, temporary)
        """Ends it, by itself where it does so at once, and waits until it is gone; a second call does nothing."""
        self.compute_unit: str | None = None
        """Where it says that it is going to run; None until it is ready."""

    @property
    def alive(self) -> bool:
        """Whether it can be asked; False once it was ended here, and in a fork of the process that started it.

        The socket of a fork is the same one: each of the two would read answers to the other's questions.
        """
        return self.end.alive and os.getpid() == self._owner

    @property
    def pid(self) -> int:
        """Its number with the system."""
        return self._process.pid

    def kill(self) -> None:
        """End it whatever it is doing, so that whoever waits for it in another thread fails; `end` has to follow."""
        self._process.kill()

    def ready(self, deadline: float) -> None:
        """Wait until it has loaded its model.

        Args:
            deadline: of `time.monotonic`.

        Raises:
            BackendTimeoutError: it is still loading, which it may; or it took too long for that and was ended.
            BackendError: it could not load, and was ended.
            LoadRefusedError: stage "providers"; it would run on the processor alone where more was asked for, and was
                ended.
        """
        if self.compute_unit is not None:
            return
        try:
            kind, data = self._answer(min(deadline, self._expired_at), LONGEST_TEXT)
        except TimeoutError:
            if time.monotonic() < self._expired_at:
                raise BackendTimeoutError("Core ML worker: is still loading the model") from None
            self._stop()
            raise BackendTimeoutError("Core ML worker: did not load the model in time and was ended") from None
        if kind == READY:
            self.compute_unit = _text(data)
            return
        self._stop()
        if kind == FAILED:
            raise BackendError(f"Core ML worker: cannot load the model: {_text(data)}")
        if kind == ELSEWHERE:
            raise LoadRefusedError("providers", f"Core ML worker: {_text(data)}; switch the feature `coreml` off")
        raise BackendError("Core ML worker: answered before it was asked and was ended")

    def ask(self, ids: bytes, mask: bytes, dims: int, deadline: float) -> bytes:
        """The vector of one text.

        Args:
            ids: int32, as many as the package has tokens.
            mask: the same.
            dims: length of the vector.
            deadline: of `time.monotonic`.

        Returns:
            `dims` float32.

        Raises:
            BackendTimeoutError: no answer until then and it was ended, or the time was over before it was asked.
            BackendError: the model failed on this text; or the process died or answered nonsense, and was ended.
        """
        left = deadline - time.monotonic()
        if left <= 0:
            raise BackendTimeoutError("Core ML worker: no time is left to ask it")
        self._number += 1
        try:
            self._channel.settimeout(left)
            self._channel.sendall(REQUEST.pack(self._number, left, len(ids)) + ids + mask)
            kind, data = self._answer(deadline, max(dims * _FLOAT_BYTES, LONGEST_TEXT))
        except TimeoutError:
            self._stop()
            raise BackendTimeoutError("Core ML worker: did not answer in time and was ended") from None
        except OSError as error:  # EPIPE and its like: it died between two questions
            raise self._died() from error
        except BackendError:
            raise
        except BaseException:  # interrupted: the answer that is under way would be read as that of the next text
            self._stop()
            raise
        if kind == FAILED:
            raise BackendError(f"Core ML worker: the model failed: {_text(data)}")
        if kind != VECTOR_OF or len(data) != dims * _FLOAT_BYTES:
            self._stop()
            raise BackendError(f"Core ML worker: answered {len(data)} bytes instead of {dims} numbers and was ended")
        return data

    def _answer(self, deadline: float, most: int) -> tuple[int, bytes]:
        number, kind, size = ANSWER.unpack(self._received(ANSWER.size, deadline))
        if number != self._number or size > most:
            self._stop()
            raise BackendError("Core ML worker: sent what nobody asked for and was ended")
        return kind, self._received(size, deadline)

    def _received(self, size: int, deadline: float) -> bytes:
        data = bytearray()
        while len(data) < size:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._channel.settimeout(left)
            try:
                piece = self._channel.recv(size - len(data))
            except ConnectionError:
                piece = b""
            if not piece:
                raise self._died()
            data += piece
        return bytes(data)

    def _stop(self) -> None:
        self.kill()
        self.end()

    def _died(self) -> BackendError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=_LAST_WORDS_S)
        code = self._process.returncode
        self._stop()
        if code is None:
            return BackendError("Core ML worker: hung up and was ended")
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return BackendError(f"Core ML worker: ended by itself ({how})")


def _started(target: str, words: Sequence[str], temporary: str) -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair()
    channel = theirs.fileno()
    command = [sys.executable, "-S", "-E", "-c", _BOOT, "\n".join(sys.path), target, str(channel), str(os.getpid())]
    try:
        process = subprocess.Popen(
            [*command, *words],
            env={**os.environ, "TMPDIR": temporary},
            pass_fds=(channel,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except (OSError, ValueError):
        ours.close()
        raise
    finally:
        theirs.close()
    return process, ours


def _text(data: bytes) -> str:
    """What a worker says, as one line that any terminal can show."""
    return printable(" ".join(data.decode(errors="replace").split()))


def _end(owner: int, process: subprocess.Popen[bytes], channel: socket.socket, temporary: str) -> None:
    channel.close()
    if os.getpid() != owner:  # a fork of this process: the worker is not its own
        return
    try:
        process.wait(timeout=_LAST_WORDS_S)
    except subprocess.TimeoutExpired:
        process.kill()
        # a killed process that stays is stuck in the kernel, where nobody can end it
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
    shutil.rmtree(temporary, ignore_errors=True)
