"""The run-time type checker of the tests: beartype, which jaxtyping gives one method
at a time, so that it cannot know what `Self` is; there it checks nothing. Nor does it
check constructors: JAX rebuilds pytrees with leaves of its own choosing in them."""

from collections.abc import Callable
from typing import Any

from beartype import beartype

_checked: dict[Any, Callable[..., Any]] = {}


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """A checker for an empty function that has the signature of the one to check.

    A function inside another is decorated at every call of the outer one, with equal
    signatures, so checkers are kept: making one takes longer than most of its calls.
    """
    if function.__qualname__.endswith("__init__"):
        return function
    function.__annotations__ = {
        name: Any if "typing.Self" in repr(hint) else hint
        for name, hint in function.__annotations__.items()
    }
    signature = (
        function.__module__,
        function.__qualname__,
        function.__code__,
        *function.__annotations__.items(),
        function.__defaults__,
        *(function.__kwdefaults__ or {}).items(),
    )
    try:
        hash(signature)
    except TypeError:  # a default that is not hashable
        return beartype(function)
    if signature not in _checked:
        _checked[signature] = beartype(function)
    return _checked[signature]
