"""Turn torch models into ONNX graphs: the two frozen encoders, and the ensemble with its wide part.

    text.onnx     ids, seen, segment [rows word_pieces], sign [rows segments] → values
    image.onnx    grey [rows h w], uint8 as `encoders.image.read_image` gives it → values
    fusion.onnx   what `fusion.parts.Parts.batch` gives → log_odds [rows tasks], mean of the members

Every axis in words is of any length. Images have as many tokens as train's had: fewer are padded
with `seen` false. Graphs come from torch's exporter (https://docs.pytorch.org/docs/stable/onnx.html);
what it notes of our source's paths is taken out, so that the same weights give the same bytes.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, no_type_check

import torch
from torch import Tensor, nn

from encoders.image import ImageEncoder, Pixels
from encoders.text import TextEncoder, WordPieces
from fusion.model import RiskModel
from fusion.onnx_scorer import PARTS

__all__ = ["OPSET", "fusion_graph", "image_graph", "text_graph"]

OPSET = 18
"""Of the ONNX operators: the one that torch's exporter is written for."""


def text_graph(encoder: TextEncoder) -> bytes:
    """Give text.onnx."""
    example = {
        "ids": torch.randint(5, 50, (3, 8)),
        "seen": torch.arange(8).expand(3, 8) < torch.tensor([[8], [6], [7]]),
        "segment": torch.arange(8).expand(3, 8) // 4,
        "sign": torch.ones(3, 2),
    }
    axes = dict.fromkeys(("ids", "seen", "segment"), ("rows", "word_pieces"))
    return _export(_Text(encoder), example, {**axes, "sign": ("rows", "segments")}, "values")


def image_graph(encoder: ImageEncoder) -> bytes:
    """Give image.onnx."""
    side = encoder.config.size_px
    example = {"grey": torch.randint(0, 255, (3, side, side), dtype=torch.uint8)}
    return _export(_Image(encoder), example, {"grey": ("rows",)}, "values")


def fusion_graph(members: Sequence[RiskModel]) -> bytes:
    """Give fusion.onnx."""
    config = members[0].config
    b, e, i, n, j, m = 3, 5, 2, 4, 6, config.image_tokens  # all different: no axis is another's
    shapes = {"event": (b, e), "note": (b, i, n), "image": (b, j, m)}
    example: dict[str, Tensor] = {}
    for name in PARTS:
        part, _, what = name.partition("_")
        shape = shapes[part] if what in ("seen", "values") else shapes[part][:2]
        width = {"note": config.note_width, "image": config.image_width}.get(part)
        if what in ("feature", "kind"):
            example[name] = torch.zeros(shape, dtype=torch.int64)
        elif what == "seen":
            example[name] = torch.ones(shape, dtype=torch.bool)
        else:
            example[name] = torch.rand((*shape, width) if what == "values" else shape)
    return _export(_Ensemble(members), example, PARTS, "log_odds")


class _Text(nn.Module):
    def __init__(self, encoder: TextEncoder):
        super().__init__()
        self.encoder = encoder

    @no_type_check  # its sizes are symbols while it is exported
    def forward(self, ids: Tensor, seen: Tensor, segment: Tensor, sign: Tensor) -> Tensor:
        time = sign[:, 0] * 0
        part = WordPieces(ids=ids, seen=seen, segment=segment, sign=sign, time=time)
        return self.encoder(part).values


class _Image(nn.Module):
    def __init__(self, encoder: ImageEncoder):
        super().__init__()
        self.encoder = encoder

    @no_type_check
    def forward(self, grey: Tensor) -> Tensor:
        values = self.encoder.standardise(grey.float() / 255.0)
        return self.encoder(Pixels(values=values, time=values[:, 0, 0, 0] * 0)).values


class _Ensemble(nn.Module):
    def __init__(self, members: Sequence[RiskModel]):
        super().__init__()
        self.members = nn.ModuleList(members)

    @no_type_check
    def forward(self, *parts: Tensor) -> Tensor:
        named = dict(zip(PARTS, parts, strict=True))
        return torch.stack([member(**named).logits for member in self.members]).mean(dim=0)


def _export(
    module: nn.Module, example: Mapping[str, Tensor], axes: Mapping[str, tuple[str, ...]], out: str
) -> bytes:
    shapes = tuple(
        dict.fromkeys(range(len(axes[name])), torch.export.Dim.DYNAMIC) for name in example
    )
    if isinstance(module, _Ensemble):  # one argument, that is all of them
        shapes = (shapes,)
    with _quietly(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            tuple(example.values()),
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=list(example),
            output_names=[out],
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    model = program.model_proto
    _tidy(model, axes)
    return model.SerializeToString(deterministic=True)


def _tidy(model: Any, axes: Mapping[str, tuple[str, ...]]) -> None:
    """Name the axes, and take out what the exporter notes of the source and its paths."""
    for given in model.graph.input:
        dims = given.type.tensor_type.shape.dim
        for place, word in enumerate(axes[given.name]):
            dims[place].dim_param = word
    for told in model.graph.output:
        told.type.tensor_type.shape.dim[0].dim_param = "rows"
    del model.graph.value_info[:]
    del model.metadata_props[:]
    graphs = [model.graph, *model.functions]
    for graph in graphs:
        graph.doc_string = ""
        del graph.metadata_props[:]
        for node in graph.node:
            node.doc_string = ""
            del node.metadata_props[:]
    for tensor in (*model.graph.initializer, *model.graph.input, *model.graph.output):
        tensor.doc_string = ""
        del tensor.metadata_props[:]
    model.producer_version = ""


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep the exporter's advice to its developers off the screen."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
