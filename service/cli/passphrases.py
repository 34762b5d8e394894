"""A passphrase, from wherever it may come. A command line is not among those: every user of a machine can read it."""

import getpass
import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from events.errors import MitosisError

VARIABLE = "MITOSIS_PASSPHRASE"


class NoPassphrase(MitosisError):
    """There is no passphrase. The message says where one may be given."""


def add(parser: ArgumentParser) -> None:
    """Add the option that names a file."""
    parser.add_argument(
        "--passphrase-file", type=Path, metavar="FILE", help=f"its first line is the passphrase (else {VARIABLE})"
    )


def passphrase(parsed: Namespace, *, is_new: bool) -> str:
    """
    The passphrase in a file, in the environment or, where there is a terminal, as it is typed: twice if it *is_new*.

    Raises:
        NoPassphrase: it is nowhere, or empty, or was typed in two ways.
    """
    if parsed.passphrase_file is not None:
        given = str(parsed.passphrase_file.read_text()).partition("\n")[0].rstrip("\r")
    elif VARIABLE in os.environ:
        given = os.environ[VARIABLE]
    elif sys.stdin.isatty():
        given = getpass.getpass("Passphrase: ")
        if is_new and getpass.getpass("Once more: ") != given:
            raise NoPassphrase("these were two different passphrases")
    else:
        raise NoPassphrase(f"a passphrase is needed: in --passphrase-file, in {VARIABLE}, or typed on a terminal")
    if not given:
        raise NoPassphrase("the passphrase is empty")
    return given
