"""The command line. Each module here has the commands about one noun, and adds them to the parser."""

import sys
from collections.abc import Sequence

from events.errors import MitosisError
from service.cli import audit, clients, consumers, db, relay, replay, serving, tenant
from service.cli.parser import Parser
from service.cli.printing import plain


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run one command and return its exit status.

    That is 0, 1 for what went wrong, 2 for a command that was not understood, 130 for one that was interrupted, or what
    else a command says of itself.
    """
    parsed = _parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed) or 0)
    except MitosisError as error:
        sys.stderr.write(f"mitosis: {plain(str(error))}\n")
        return 1
    except BrokenPipeError:
        sys.stderr.close()  # who read what we wrote has had enough, and nothing is wrong
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"mitosis: {where}{error.strerror or error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> Parser:
    parser = Parser(prog="mitosis", description="An event-sourced, multi-tenant registry of OAuth clients.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in (serving, audit, consumers, relay, clients, tenant, replay, db):
        module.add(commands)
    return parser
