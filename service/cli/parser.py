"""The parser of the command line: what is wrong is said in one line."""

import argparse
from typing import TYPE_CHECKING, NoReturn, TypeAlias

if TYPE_CHECKING:
    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 (it has no other name)
else:
    Commands = argparse._SubParsersAction  # noqa: SLF001


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Say *message*, and where there is help."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def position(text: str) -> int:
    """The position in a log that *text* says."""
    if not text.isascii() or not text.isdigit() or len(text) > 18:  # noqa: PLR2004 (digits of a bigint)
        raise argparse.ArgumentTypeError(f"a position is a whole number, not {text!r}")
    return int(text)
