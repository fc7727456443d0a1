"""The run-time type checker of the tests: beartype, which jaxtyping gives one method
at a time, so that it cannot know what `Self` is; there it checks nothing. Nor does it
check constructors: JAX rebuilds pytrees with leaves of its own choosing in them."""

from collections.abc import Callable
from typing import Any

from beartype import beartype


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    if function.__qualname__.endswith("__init__"):
        return function
    function.__annotations__ = {
        name: Any if "typing.Self" in repr(hint) else hint
        for name, hint in function.__annotations__.items()
    }
    return beartype(function)
