"""The command line. Each module here has the commands about one noun, and adds them to the parser."""

import sys
from collections.abc import Sequence
from importlib import import_module

from events.errors import MitosisError
from service.cli.parser import Parser
from service.cli.printing import plain
from service.cycles import look_rarely

# each command's module, in the order of the help
_MODULES = {
    "serve": "serving",
    "token": "serving",
    "audit": "audit",
    "consumers": "consumers",
    "relay": "relay",
    "clients": "clients",
    "tenant": "tenant",
    "replay": "replay",
    "db": "db",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run one command and return its exit status.

    That is 0, 1 for what went wrong, 2 for a command that was not understood, 130 for one that was interrupted, or what
    else a command says of itself.
    """
    words = sys.argv[1:] if arguments is None else arguments
    try:
        parsed = _parser(words[0] if words else "").parse_args(words)
        look_rarely()
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


def _parser(command: str) -> Parser:
    """What understands *command*, or any where there is none of that name: half of a second goes into all modules."""
    parser = Parser(prog="mitosis", description="An event-sourced, multi-tenant registry of OAuth clients.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    wanted = [_MODULES[command]] if command in _MODULES else dict.fromkeys(_MODULES.values())
    for name in wanted:
        import_module(f"service.cli.{name}").add(commands)
    return parser
