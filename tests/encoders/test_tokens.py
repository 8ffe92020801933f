"""Tokens, and that an annotation is an assertion while tests run."""

import pytest
import torch
from jaxtyping import TypeCheckError

from encoders.tokens import Tokens


def test_tokens_whose_axes_do_not_fit_each_other_are_refused() -> None:
    values, time = torch.zeros(2, 3, 4), torch.zeros(2, 3)
    tokens = Tokens(values=values, seen=torch.ones(2, 3, dtype=torch.bool), time=time)
    assert tokens.values.shape == (2, 3, 4)
    with pytest.raises(TypeCheckError, match="seen"):
        Tokens(values=values, seen=torch.ones(2, 5, dtype=torch.bool), time=time)
    with pytest.raises(TypeCheckError, match="seen"):
        Tokens(values=values, seen=torch.ones(2, 3), time=time)
