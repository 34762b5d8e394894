"""The three rooms and the one direction between them."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
ROOMS = ("service", "projections", "events")
COMPOSITION_ROOTS = ("service/app.py", "service/relay/run.py")
BELOW = {"service": {"projections", "events"}, "projections": {"events"}, "events": set[str]()}


def modules(room: str) -> Iterator[Path]:
    """The files of *room*."""
    found = sorted((CHECKOUT / room).rglob("*.py"))
    assert found
    yield from found


def imported(module: Path) -> set[str]:
    """The packages that *module* imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import"
            names.add(node.module or "")
    return {name.partition(".")[0] for name in names}


def test_service_projections_events() -> None:
    """Each room imports itself and the rooms below it, never one above."""
    for room in ROOMS:
        for module in modules(room):
            ours = imported(module) & {*ROOMS, "tests"}
            assert ours <= {room, *BELOW[room]}, module


def test_the_inner_rooms_know_no_outside() -> None:
    """What happened and what is depend on no web framework, no credentials and no configuration."""
    allowed = {"asyncpg", "msgspec", *ROOMS, *sys.stdlib_module_names}
    for room in ("projections", "events"):
        for module in modules(room):
            assert imported(module) <= allowed, module


def test_only_the_composition_roots_open_pools() -> None:
    """A pool is opened in one place of each long-running program; everything else is lent a connection."""
    for room in ROOMS:
        for module in modules(room):
            calls = {
                node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                for node in ast.walk(ast.parse(module.read_text()))
                if isinstance(node, ast.Call)
            }
            assert "open_pool" not in calls or module.relative_to(CHECKOUT).as_posix() in COMPOSITION_ROOTS, module
            assert "create_pool" not in calls or module.name == "database.py", module


def test_the_root_stays_small() -> None:
    """The root of the repository holds what a repository needs and nothing else."""
    expected = {
        *("events", "projections", "service", "tests", "docs"),
        *("setup.cfg", "pyproject.toml", "Makefile", "schema.sql"),
        *("README.md", "CHANGELOG.md", "LICENSE"),
    }
    visible = {path.name for path in CHECKOUT.iterdir() if not path.name.startswith(".")}
    assert {name for name in visible if not name.endswith(".egg-info") and name != "build"} == expected
