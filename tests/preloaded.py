"""Imported once, in the process from which the tests' commands are forked; nothing is computed.

A forked process may not use threads that its parent had started, so here it stays at imports.
"""

import os
import warnings

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["PYTHONWARNINGS"] = "ignore"
os.environ["HF_HUB_OFFLINE"] = "1"  # what `serve.cli` sets, before the hub's client is imported
warnings.simplefilter("ignore")

import encoders.build  # noqa: E402, F401
import fusion.evaluate  # noqa: E402
import fusion.train  # noqa: E402, F401
import ingest.cohort  # noqa: E402, F401
import serve.app  # noqa: E402
import serve.cli  # noqa: E402
import serve.explained_page  # noqa: E402
import serve.predictor  # noqa: E402, F401
