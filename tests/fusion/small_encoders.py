"""A BERT and a timm backbone of a few thousand weights, in directories as hubs keep them."""

from pathlib import Path

import timm
import torch
from timm.models import save_for_hf
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import BertConfig, BertModel, BertTokenizerFast

from encoders.build import quiet_transformers
from tests.fusion.clinic import SICK, WELL

__all__ = ["write_backbone", "write_bert"]

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def write_bert(place: Path, *, seed: int = 0) -> Path:
    """Write a BERT of width 32 whose tokenizer knows the words of the clinic's notes."""
    words = dict.fromkeys(" ".join(SICK + WELL).split())
    numbers = {piece: number for number, piece in enumerate([*_SPECIAL, *words])}
    tokenizer = Tokenizer(models.WordPiece(numbers, unk_token=_SPECIAL[1]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    config = BertConfig(
        vocab_size=len(numbers),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=256,
    )
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        torch.manual_seed(seed)
        BertModel(config).save_pretrained(place)
    BertTokenizerFast(tokenizer_object=tokenizer).save_pretrained(place)
    return place


def write_backbone(place: Path, *, seed: int = 0) -> Path:
    """Write timm's smallest ResNet with weights that were never trained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = timm.create_model("test_resnet", pretrained=False)
    save_for_hf(backbone, str(place), safe_serialization=True)
    return place
