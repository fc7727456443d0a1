"""The run-time type checker of the tests: beartype, which jaxtyping gives one method
at a time, so that it cannot know what `Self` is; there it checks nothing."""

from collections.abc import Callable
from typing import Any

from beartype import beartype


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    function.__annotations__ = {
        name: Any if "typing.Self" in repr(hint) else hint
        for name, hint in function.__annotations__.items()
    }
    return beartype(function)
