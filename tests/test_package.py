"""What is installed where nobody has the checkout."""

from configparser import ConfigParser
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
SERVICE = CHECKOUT / "service"


def is_module(file: Path) -> bool:
    """Whether *file* is a package's, which are found by themselves, or what an interpreter keeps of one."""
    return file.suffix == ".py" or "__pycache__" in file.parts


def test_every_file_is_in_the_package() -> None:
    """All that is no module and lies in the service's directory is named, so that the console is whole everywhere."""
    setup = ConfigParser()
    setup.read(CHECKOUT / "setup.cfg")
    named = setup["options.package_data"]["service"].split()
    shipped = {file for pattern in named for file in SERVICE.glob(pattern) if file.is_file()}
    there = {file for file in SERVICE.rglob("*") if file.is_file() and not is_module(file)}

    assert there == shipped
    console = {file.relative_to(SERVICE).as_posix() for file in shipped}
    assert {"console/index.html", "console/vendor/preact.js", "console/vendor/preact.LICENSE"} <= console


def test_no_pattern_is_for_nothing() -> None:
    """What is named is there."""
    setup = ConfigParser()
    setup.read(CHECKOUT / "setup.cfg")
    for pattern in setup["options.package_data"]["service"].split():
        assert any(SERVICE.glob(pattern)), pattern
