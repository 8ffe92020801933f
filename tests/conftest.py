"""Where the real data lies, and the small hospital that many tests share."""

import fcntl
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

import tests.shapes  # the hook below looks it up by name
from tests.hospital import ROOT, Hospital, medweave, readme_session

# Before any test imports them: their annotations are assertions from here on.
install_import_hook(["encoders", "fusion"], f"{tests.shapes.__name__}.checked")

# A busy machine takes its time over an example. A commit is judged by the same examples wherever it
# is tested; `make test-all` looks for new ones.
settings.register_profile("same", deadline=None, derandomize=True, database=None)
settings.register_profile("search", deadline=None, print_blob=True)
settings.load_profile("same")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The directory of public data sets beside the checkout; tests that need it skip without it."""
    place = ROOT.parent / "shared" / "data"
    if not place.is_dir():
        pytest.skip("the public data sets are not beside this checkout (../shared/data)")
    return place


@pytest.fixture(scope="session")
def hospital(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Hospital:
    """Take 60 patients from `simulate` to `predict`, once, whatever the number of workers."""
    base = tmp_path_factory.getbasetemp()
    place = (base if worker_id == "master" else base.parent) / "hospital-60"
    place.mkdir(exist_ok=True)
    made = Hospital(place=place, printed={})
    public = {"ingest": ["--public"]}  # with the published key, so that the ids repeat
    steps = readme_session(place, 60)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in steps:
            name = command[0]
            if name == "serve":  # the page has its own journey; here only that the words are right
                command = [*command, "--help"]
            said = place / f"{name}.stdout"
            if not said.exists():
                done = medweave(*command, *public.get(name, []))
                said.write_text(done.stdout, "utf-8")
            made.printed[name] = said.read_text("utf-8")
    return made
