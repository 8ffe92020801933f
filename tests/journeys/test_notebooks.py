"""The notebooks run from top to bottom, as they are in the repository."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.hospital import ROOT

pytestmark = [
    # jupyter_client warns of its own event loop; nothing of ours.
    pytest.mark.filterwarnings("ignore"),
]

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def run(notebook: Path, place: Path, patients: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDWEAVE_PATIENTS", str(patients))
    monkeypatch.setenv("MEDWEAVE_PLACE", str(place))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.setenv("IPYTHONDIR", str(place / "ipython"))
    content = nbformat.read(notebook, as_version=4)
    client = NotebookClient(
        content, timeout=1500, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}
    )
    client.execute()


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_on_60_patients(
    notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(notebook, tmp_path, 60, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_at_full_size(
    notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(notebook, tmp_path, 400, monkeypatch)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(notebook: Path) -> None:
    for cell in nbformat.read(notebook, as_version=4).cells:
        assert not cell.get("outputs"), cell["id"]
