"""The frozen encoders as ONNX graphs, read with onnxruntime: no torch model, no cache.

What stands before the networks is the encoders' own: `TextEncoder.windows` cuts notes,
`pad_windows` pads them, `read_image` reads films. An answer differs from torch's in its last
digits, since sums are taken in another order.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn
from transformers import AutoTokenizer

from encoders.image import ImageConfig, read_image
from encoders.text import TextConfig, TextEncoder, Window, pad_windows
from ingest.errors import RunError, UsageError

__all__ = ["ONNX_EXTRA", "OnnxEncoders", "open_graph"]

ONNX_EXTRA = "pip install 'medweave[onnx]'"
"""What brings the packages that ONNX needs."""

_PIECES = 192  # word pieces that are read at once, as encoders.frozen has it


def open_graph(file: Path, *, threads: int = 1) -> Any:
    """Open an ONNX graph as an `onnxruntime.InferenceSession` on the processor.

    Raises:
        UsageError: onnxruntime is not installed.
        RunError: it is no ONNX graph.
    """
    try:
        import onnxruntime
    except ImportError:
        raise UsageError(f"reading ONNX needs onnxruntime: {ONNX_EXTRA}") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            file.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime has a kind of its own for each way to be damaged
        raise RunError(
            f"{file} cannot be read as an ONNX graph ({type(error).__name__}); export again"
        ) from None


class OnnxEncoders:
    """Read notes and images; a `fusion.candidates.Embedder`, as `FrozenEncoders` is.

    It holds no view of an image but the plain one: nothing is trained with it.
    """

    def __init__(self, folder: Path, preprocessing: Mapping[str, Any], *, threads: int = 1):
        """Open text.onnx, image.onnx and tokenizer/ of a directory that `medweave export` wrote.

        Args:
            folder: the directory.
            preprocessing: as `FrozenEncoders.preprocessing` said when it was exported.
            threads: that one operation may use.

        Raises:
            UsageError: onnxruntime is not installed.
            RunError: a file is damaged.
        """
        self.preprocessing = dict(preprocessing)
        text, image = preprocessing["text"], preprocessing["image"]
        names = ("window", "segments", "context", "segment", "pieces_at_most")
        self._text_graph = open_graph(folder / "text.onnx", threads=threads)
        self._image_graph = open_graph(folder / "image.onnx", threads=threads)
        self.text_width = int(self._text_graph.get_outputs()[0].shape[-1])
        self.image_width = int(self._image_graph.get_outputs()[0].shape[-1])
        tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        tokenizer.model_max_length = 10**9  # we cut windows ourselves; it would warn of long notes
        self._text = TextEncoder(
            TextConfig(**{name: text[name] for name in names}),
            _NoNetwork(self.text_width // 2),
            tokenizer,
        )
        self._size_px = ImageConfig(
            size_px=image["size_px"],
            grid=image["grid"],
            maps=tuple(image["maps"]),
        ).size_px

    def check(self, stated: Mapping[str, Any]) -> None:
        """Refuse a model that was trained on the tokens of other encoders.

        Raises:
            RunError: weights or preprocessing differ from what the model states.
        """
        for part, mine in self.preprocessing.items():
            if stated.get(part) != mine:
                raise RunError(
                    f"the model was trained with another {part} encoder than was exported with it; "
                    "export again"
                )

    def notes(self, texts: Sequence[str], *, progress: bool = False) -> list[np.ndarray]:
        """Give each text's tokens, [n d] float32, one a sentence; n is 0 for an empty text."""
        cut = self._text.windows(texts)
        keys = [[(*w.ids, -1, *w.segment, *w.negated) for w in windows] for windows in cut]
        unique = {
            key: w for ks, ws in zip(keys, cut, strict=True) for key, w in zip(ks, ws, strict=True)
        }
        by_length: dict[int, list[tuple[int, ...]]] = {}
        for key, window in unique.items():
            by_length.setdefault(len(window.ids), []).append(key)
        tokens: dict[tuple[int, ...], np.ndarray] = {}
        for length, same in sorted(by_length.items()):
            step = max(1, _PIECES // length)
            for start in range(0, len(same), step):
                some = same[start : start + step]
                read = self._windows([unique[key] for key in some])
                tokens.update(zip(some, read, strict=True))
        nothing = np.zeros((0, self.text_width), dtype=np.float32)
        return [np.concatenate([nothing, *(tokens[key] for key in ks)]) for ks in keys]

    def images(self, paths: Sequence[Path], *, progress: bool = False) -> list[np.ndarray]:
        """Give each image's tokens, [n d] float32, row by row from the top left.

        Raises:
            InputError: a file is missing or is no image.
        """
        return [
            self._image_graph.run(None, {"grey": read_image(path, self._size_px)[None]})[0][0]
            for path in paths
        ]

    def image_views(self, paths: Sequence[Path], *, progress: bool = False) -> list[np.ndarray]:
        """Refuse: other views are for training.

        Raises:
            UsageError: always.
        """
        raise UsageError("exported encoders serve and do not train; train with FrozenEncoders")

    def _windows(self, windows: list[Window]) -> list[np.ndarray]:
        part = pad_windows(windows, padding=self._text.tokenizer.pad_token_id or 0)
        names = ("ids", "seen", "segment", "sign")
        values = self._text_graph.run(None, {name: getattr(part, name).numpy() for name in names})
        return [
            values[0][place, : len(window.negated)].copy() for place, window in enumerate(windows)
        ]


class _NoNetwork(nn.Module):
    """Stand where a `TextEncoder` has its network: cutting a note into windows needs none."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.config = _Width(hidden_size)


class _Width:
    def __init__(self, hidden_size: int):
        self.hidden_size = hidden_size
