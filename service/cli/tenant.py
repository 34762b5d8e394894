"""`mitosis tenant`: what operators do with tenants as a whole. Each action is in a module of its own."""

from service.cli import copy, exporting, importing, move, tenants
from service.cli.parser import Commands


def add(commands: Commands) -> None:
    """Add the commands to the parser."""
    tenant = commands.add_parser("tenant", help="list, freeze, move and copy tenants; archive them")
    actions = tenant.add_subparsers(metavar="ACTION", required=True)
    for module in (tenants, move, copy, exporting, importing):
        module.add(actions)
