"""Names of runs: validation and automatic names."""

import re
import secrets
import string

from pgcli.errors import UsageError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
_ALPHABET = string.ascii_lowercase + string.digits
_RANDOM = 6


def is_valid(name: str) -> bool:
    """Whether `name` is a valid name of a run."""
    return _NAME.fullmatch(name) is not None


def check(name: str) -> None:
    """Raises a UsageError if `name` is not a valid name of a run."""
    if not is_valid(name):
        raise UsageError(
            f"{name!r} is not a valid name of a run",
            where="--name",
            help="use at most 200 letters, digits, `.`, `_` and `-`, not starting with "
            "`.` or `-`",
        )


def suffix() -> str:
    """Six random letters and digits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM))


def automatic(algo: str, env_id: str) -> str:
    """A random name such as `ppo2-CartPole-v1-k3f9wq`."""
    env = re.sub(r"[^A-Za-z0-9._-]", "-", env_id)[:100]
    return f"{algo}-{env}-{suffix()}"
