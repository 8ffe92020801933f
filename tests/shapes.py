"""Turn annotations into assertions while the tests run: conftest.py hands this to jaxtyping.

Every signature and every dataclass of encoders and fusion is checked at every call, the axes of
arrays against each other. What cannot be checked of a single function is left to pyright.
"""

from collections.abc import Callable
from types import UnionType
from typing import Any, Protocol, Self, Union, get_args, get_origin

from beartype import beartype

__all__ = ["checked"]


def checked(function: Callable) -> Callable:
    """Check a function's arguments and what it returns against its annotations."""
    function.__annotations__ = {
        name: _checkable(hint) for name, hint in function.__annotations__.items()
    }
    return beartype(function)


def _checkable(hint: Any) -> Any:
    """Leave out what names its own class, and protocols; of containers, keep what they are.

    To ask whether an object fits a protocol is to read its properties: an encoder would load its
    weights. To look into a list, beartype draws one of Python's random numbers, and tests watch
    who does.
    """
    if hint is Self or isinstance(hint, str) or Protocol in getattr(hint, "__mro__", ()):
        return Any
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return Union[tuple(_checkable(part) for part in parts)]  # noqa: UP007 - of any number
    if origin is tuple and Ellipsis not in parts:
        return tuple[tuple(_checkable(part) for part in parts)]
    return origin if isinstance(origin, type) else hint
