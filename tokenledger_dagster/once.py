"""Values that are made when they are first asked for, and kept.

Light: on the way of a report on unchanged logs ``functools`` would cost as much as a walk of hundreds of them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol, TypeVar

    Value = TypeVar("Value", covariant=True)

    class Once(Protocol[Value]):
        """A function without arguments whose value is made once."""

        def __call__(self) -> Value:
            """The value."""
            ...

        def forget(self) -> None:
            """Has it made anew the next time."""
            ...


def once(make: Callable[[], Value]) -> Once[Value]:
    """The same function, which makes its value once."""
    kept: list[Value] = []

    def asked() -> Value:
        if not kept:
            kept.append(make())
        return kept[0]

    asked.__doc__ = make.__doc__
    asked.forget = kept.clear  # type: ignore[attr-defined]
    return asked  # type: ignore[return-value]
