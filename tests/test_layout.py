"""The shape of the project: four rooms, and no room imports a later one."""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("ingest", "encoders", "fusion", "serve")


def imported_rooms(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.split(".")[0])
    return found & set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_imported_from_this_checkout(room: str) -> None:
    module = importlib.import_module(room)
    assert Path(str(module.__file__)).resolve().parent == ROOT / room


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_imports_a_later_one(room: str) -> None:
    later = set(ROOMS[ROOMS.index(room) + 1 :])
    for file in (ROOT / room).rglob("*.py"):
        assert not imported_rooms(file) & later, file.relative_to(ROOT)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_states_its_public_names(room: str) -> None:
    module = importlib.import_module(room)
    assert module.__doc__
    assert sorted(module.__all__) == list(module.__all__)
    for name in module.__all__:
        assert hasattr(module, name)
