"""Risks in, a person or a system out: the command line, and a page on this machine.

What comes in: a run directory (`fusion`), a record store (`ingest`), or one person's upload.
What goes out: `Prediction`, a risk of each task with what each modality contributed, and the page
that shows it. Read `prediction` and `predictor` first; they know nothing of the web.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serve.prediction import Contribution, Picture, Prediction, TaskInfo, TaskRisk
    from serve.predictor import Predictor

__all__ = ["Contribution", "Picture", "Prediction", "Predictor", "TaskInfo", "TaskRisk"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that `medweave --help` stays quick."""
    if name not in __all__:
        raise AttributeError(f"module 'serve' has no attribute {name!r}")
    module = "serve.predictor" if name == "Predictor" else "serve.prediction"
    return getattr(import_module(module), name)
