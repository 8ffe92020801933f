"""The clinic that the page's tests share."""

import gc
import warnings
from collections.abc import Iterator

import pytest

from serve.predictor import Predictor
from tests.serve.clinic import Clinic, build_clinic


@pytest.fixture(scope="session")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Clinic:
    """A store of 60 hand-made patients and a run that uses all three modalities."""
    return build_clinic(tmp_path_factory.mktemp("clinic"))


@pytest.fixture(scope="session")
def predictor(clinic: Clinic) -> Predictor:
    """What the page asks."""
    return Predictor(clinic.run, clinic.store)


@pytest.fixture(scope="module", autouse=True)
def no_loops_left() -> Iterator[None]:
    """Collect the event loops that Gradio leaves here, not within somebody else's test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", "")  # what build_app sets is taken back
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
