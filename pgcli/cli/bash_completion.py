"""Completion in bash of words with `=` and `:`, which bash splits.

Typer's script passes the parts as words of their own, so `--set optimizer.lr` and
`--env func:CartPole-v1` could not be completed, and a space followed `optimizer.lr=`.
"""

import os
import re

SCRIPT = """
%(complete_func)s() {
    local IFS=$'\\n'
    COMPREPLY=( $( env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD \\
                   _PGCLI_LINE="${COMP_LINE:0:$COMP_POINT}" \\
                   _PGCLI_BREAKS="$COMP_WORDBREAKS" \\
                   %(autocomplete_var)s=complete_bash $1 2>/dev/null ) )
    [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace
    return 0
}

complete -o default -F %(complete_func)s %(prog_name)s
"""


def line_before(cursor: str, breaks: str) -> tuple[list[str], str, int]:
    """(complete words behind the command, the incomplete word, letters to strip).

    Args:
      cursor: the command line before the cursor.
      breaks: letters at which bash splits words; it replaces the last part only.
    """
    from typer._click.shell_completion import split_arg_string

    words = split_arg_string(cursor)[1:]
    incomplete = "" if cursor[-1:].isspace() or not words else words.pop()
    broken = re.match(rf"(?s).*[{re.escape(breaks)}]", incomplete) if breaks else None
    return words, incomplete, broken.end() if broken else 0


def install() -> None:
    """Replaces Typer's completion for bash, if this version of Typer has it."""
    try:
        from typer import _completion_shared as shared
        from typer._click.shell_completion import add_completion_class
        from typer._completion_classes import BashComplete

        scripts = shared._completion_scripts
    except (ImportError, AttributeError):
        return

    class Bash(BashComplete):
        """Completion of the words in `_PGCLI_LINE`."""

        strip = 0

        def get_completion_args(self) -> tuple[list[str], str]:
            """(complete words, the incomplete word)."""
            cursor = os.environ.get("_PGCLI_LINE")
            if cursor is None:  # a script that Typer installed
                return super().get_completion_args()
            breaks = os.environ.get("_PGCLI_BREAKS", "")
            words, incomplete, self.strip = line_before(cursor, breaks)
            return words, incomplete

        def format_completion(self, item: object) -> str:
            """A completion without the part that bash keeps."""
            return super().format_completion(item)[self.strip :]  # type: ignore[arg-type]

    scripts["bash"] = SCRIPT
    add_completion_class(Bash, "bash")
