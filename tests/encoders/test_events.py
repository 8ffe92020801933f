"""Features to tokens."""

import pytest
import torch

from encoders.build import build_encoder
from encoders.events import EventsConfig, EventsEncoder, EventsPart


@pytest.fixture
def encoder() -> EventsEncoder:
    torch.manual_seed(0)
    return build_encoder(EventsConfig(features=7, width=12, bins=4, rank=3)).eval()


def part(value: float, *, feature: int = 2, time: float = 3.0, seen: bool = True) -> EventsPart:
    return EventsPart(
        feature=torch.tensor([[feature]]),
        value=torch.tensor([[value]]),
        seen=torch.tensor([[seen]]),
        time=torch.tensor([[time]]),
    )


def test_a_value_is_linear_between_the_steps_of_its_quantile(encoder: EventsEncoder) -> None:
    low, middle, high = (encoder(part(q)).values for q in (0.25, 0.375, 0.5))
    torch.testing.assert_close((low + high) / 2, middle)
    beyond = encoder(part(0.75)).values
    assert not torch.allclose(high - low, beyond - high, atol=1e-3)


def test_features_bend_their_own_curves(encoder: EventsEncoder) -> None:
    one = encoder(part(1.0, feature=1)).values - encoder(part(0.0, feature=1)).values
    other = encoder(part(1.0, feature=2)).values - encoder(part(0.0, feature=2)).values
    assert not torch.allclose(one, other, atol=1e-2)


def test_no_value_is_a_vector_of_its_own_and_learns(encoder: EventsEncoder) -> None:
    encoder(part(float("nan"))).values.sum().backward()
    assert encoder.no_value.grad is not None
    assert encoder.no_value.grad.abs().sum() > 0
    assert torch.isfinite(encoder.curve.weight.grad).all()


def test_yesterday_differs_from_last_year(encoder: EventsEncoder) -> None:
    recent, old = encoder(part(0.5, time=1.0)), encoder(part(0.5, time=365.0))
    assert not torch.allclose(recent.values, old.values, atol=1e-2)
    assert float(old.time[0, 0]) == 365.0


def test_sizes_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="width must be at least 1; got width=0"):
        EventsConfig(features=3, width=0)
