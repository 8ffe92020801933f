"""The fusion model, on tensors."""

import numpy as np
import pytest
import torch

from fusion.model import RiskConfig, RiskModel, masked_loss

SIZES = {
    "features": 9,
    "note_width": 6,
    "image_width": 5,
    "image_tokens": 4,
    "kinds": 2,
    "width": 16,
    "latents": 3,
    "heads": 2,
    "note_components": 6,
    "image_components": 5,
    "note_summary": 4,
    "image_summary": 4,
}


def model(seed: int = 0, **sizes: float) -> RiskModel:
    """Make a model whose every weight is random, those that are fitted or start at 0 too."""
    torch.manual_seed(seed)
    made = RiskModel(RiskConfig(**{"tasks": 2, **SIZES, **sizes}))
    with torch.no_grad():
        for name, tensor in made.state_dict().items():
            fixed = name not in dict(made.named_parameters()) or name == "head"
            if fixed and not name.endswith(("frequencies", "steps")):
                tensor.normal_(std=0.3)
    return made.eval()


def batch(b: int = 4, seed: int = 1, *, events: int = 5, items: int = 2) -> dict[str, torch.Tensor]:
    """Make a batch in which rows have different things, row 0 everything and the last nothing."""
    torch.manual_seed(seed)
    made = {
        "event_feature": torch.randint(0, 9, (b, events)),
        "event_value": torch.rand(b, events),
        "event_time": torch.rand(b, events) * 50,
        "event_seen": torch.rand(b, events) < 0.7,
    }
    for name, width, n in (("note", 6, 3), ("image", 5, 4)):
        made[f"{name}_values"] = torch.randn(b, items, n, width)
        made[f"{name}_seen"] = (torch.rand(b, items, 1) < 0.6).expand(b, items, n).clone()
        made[f"{name}_time"] = torch.rand(b, items) * 50
        made[f"{name}_kind"] = torch.randint(0, 3, (b, items))
    for name in ("event", "note", "image"):
        made[f"{name}_seen"][0] = True
        made[f"{name}_seen"][-1] = False
    return made


def logits(made: RiskModel, given: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.inference_mode():
        answer = made(**given).logits
    assert torch.isfinite(answer).all()
    return answer


def test_what_is_not_seen_changes_no_bit() -> None:
    made, given = model(), batch()
    before = logits(made, given)
    noise = dict(given)
    for name, kind in (("event", "value"), ("note", "values"), ("image", "values")):
        seen = given[f"{name}_seen"]
        content = given[f"{name}_{kind}"]
        mask = seen if content.dim() == seen.dim() else seen[..., None]
        for poison in (1e6, float("nan")):
            noise[f"{name}_{kind}"] = torch.where(mask, content, torch.tensor(poison))
            assert torch.equal(logits(made, noise), before), (name, poison)
    there = given["event_seen"]
    noise["event_feature"] = torch.where(there, given["event_feature"], 8)
    noise["event_time"] = torch.where(there, given["event_time"], 1e4)
    for name in ("note", "image"):
        there = given[f"{name}_seen"].any(dim=2)
        noise[f"{name}_time"] = torch.where(there, given[f"{name}_time"], 1e4)
        noise[f"{name}_kind"] = torch.where(there, given[f"{name}_kind"], 1)
    assert torch.equal(logits(made, noise), before)


def test_padding_and_the_other_rows_do_not_matter() -> None:
    made, given = model(), batch(b=6)
    together = logits(made, given)
    for row in range(6):
        alone = {}
        for name, tensor in given.items():
            width = tensor.shape[1]
            wider = torch.zeros((1, width + 3, *tensor.shape[2:]), dtype=tensor.dtype)
            wider[:, :width] = tensor[row : row + 1]
            alone[name] = wider
        torch.testing.assert_close(logits(made, alone)[0], together[row], atol=1e-5, rtol=0)


def test_each_modality_can_be_missing_and_being_missing_is_told() -> None:
    made, given = model(), batch()
    before = logits(made, given)[0]
    for name in ("event", "note", "image"):
        lacking = {**given, f"{name}_seen": torch.zeros_like(given[f"{name}_seen"])}
        assert not torch.allclose(logits(made, lacking)[0], before, atol=1e-4), name
    same = logits(made, batch(seed=1))[-1]
    other = logits(made, batch(seed=5))[-1]
    torch.testing.assert_close(same, other, atol=1e-6, rtol=0)


def test_a_tiny_model_gives_what_it_always_gave() -> None:
    found = logits(model(), batch())
    golden = torch.tensor(GOLDEN)
    torch.testing.assert_close(found, golden, atol=2e-4, rtol=0)


def test_untrained_it_says_what_its_wide_part_says() -> None:
    made, given = model(), batch()
    with torch.no_grad():
        made.head.zero_()
    wide = torch.randn(4, 5, 2)
    with torch.inference_mode():
        answer = made(**given, wide=wide).logits
    assert torch.allclose(answer[0], wide[0].sum(dim=0), atol=1e-5)
    assert torch.allclose(answer[-1], wide[-1, -1], atol=1e-5)


def test_attention_weights_can_be_had_and_change_nothing() -> None:
    made, given = model(), batch()
    with torch.inference_mode():
        told = made(**given, output_attentions=True)
    torch.testing.assert_close(told.logits, logits(made, given), atol=1e-5, rtol=0)
    assert made(**given).attentions is None
    assert len(told.attentions) == made.config.layers
    for layer in told.attentions:
        for looked, count in zip(layer, (5, 2 * 3, 2 * 3), strict=True):
            assert looked.shape == (4, 3, 1 + count)
            torch.testing.assert_close(looked.sum(dim=2), torch.ones(4, 3))
    for looked in told.attentions[0]:
        assert float(looked[0, :, 0].max()) == 0.0  # row 0 has everything
        torch.testing.assert_close(looked[-1, :, 0], torch.ones(3))  # the last has nothing


def test_labels_that_are_not_known_are_not_learnt_from() -> None:
    scores = torch.zeros(2, 2, requires_grad=True)
    masked_loss(scores, torch.tensor([[1.0, float("nan")], [float("nan"), 0.0]])).backward()
    assert scores.grad is not None
    assert scores.grad.tolist() == [[-0.25, 0.0], [0.0, 0.25]]
    nothing = torch.full((2, 2), float("nan"))
    assert masked_loss(torch.zeros(2, 2), nothing).item() == 0.0


def test_a_batch_without_labels_or_without_images_trains() -> None:
    made = model().train()
    given = batch()
    given["image_seen"][:] = False
    for labels in (torch.full((4, 2), float("nan")), torch.ones(4, 2)):
        loss = made(**given, wide=torch.zeros(4, 5, 2), labels=labels).loss
        loss.backward()
        assert all(torch.isfinite(p.grad).all() for p in made.parameters() if p.grad is not None)


def test_every_weight_is_trained() -> None:
    made = model().train()
    made(**batch(b=8), wide=torch.zeros(8, 5, 2), labels=torch.ones(8, 2)).loss.backward()
    idle = [n for n, p in made.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle in ([], ["events.no_value"])  # every event of this batch has a value


def test_it_learns_what_no_sum_of_modalities_can_say() -> None:
    """Label = sign of (note's latent times image's latent): each alone, and any sum, says 0.5."""
    rng = np.random.default_rng(0)

    def draw(n: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        a, c = rng.choice([-1.0, 1.0], n), rng.choice([-1.0, 1.0], n)
        note, image = rng.standard_normal((n, 1, 3, 6)), rng.standard_normal((n, 1, 4, 5))
        note[:, 0, 1, 0] += 3 * a
        image[:, 0, 2, 1] += 3 * c
        ones = torch.ones
        given = {
            "event_feature": torch.zeros(n, 1, dtype=torch.long),
            "event_value": torch.zeros(n, 1),
            "event_time": torch.zeros(n, 1),
            "event_seen": torch.zeros(n, 1, dtype=torch.bool),
            "note_values": torch.from_numpy(note).float(),
            "note_seen": ones(n, 1, 3, dtype=torch.bool),
            "note_time": torch.zeros(n, 1),
            "note_kind": torch.zeros(n, 1, dtype=torch.long),
            "image_values": torch.from_numpy(image).float(),
            "image_seen": ones(n, 1, 4, dtype=torch.bool),
            "image_time": torch.zeros(n, 1),
            "image_kind": torch.zeros(n, 1, dtype=torch.long),
        }
        return given, torch.from_numpy((a * c > 0).astype(np.float32))[:, None]

    torch.manual_seed(0)
    made = RiskModel(RiskConfig(tasks=1, **SIZES | {"width": 32, "heads": 4}, dropout=0.0))
    with torch.no_grad():  # no wide part: attention alone has to find it
        made.notes.whiten.copy_(torch.eye(6))
        made.images.whiten.copy_(torch.eye(5))
    (given, label), (test, truth) = draw(1500), draw(1000)
    optimiser = torch.optim.AdamW(made.parameters(), lr=3e-3, weight_decay=0.01)
    made.train()
    for _ in range(12):
        order = torch.randperm(1500)
        for rows in order.split(100):
            optimiser.zero_grad()
            some = {name: tensor[rows] for name, tensor in given.items()}
            made(**some, labels=label[rows]).loss.backward()
            optimiser.step()
    made.eval()

    def auroc(scores: torch.Tensor) -> float:
        ranks = scores.argsort().argsort().double()
        positive = truth[:, 0] > 0
        n, m = int(positive.sum()), int((~positive).sum())
        return float((ranks[positive].sum() - n * (n - 1) / 2) / (n * m))

    assert auroc(logits(made, test)[:, 0]) > 0.8
    parts = []
    for name in ("note", "image"):
        hidden = {**test, f"{name}_seen": torch.zeros_like(test[f"{name}_seen"])}
        parts.append(logits(made, hidden)[:, 0])
    assert abs(auroc(sum(parts)) - 0.5) < 0.06


def test_it_is_saved_without_pickle_and_comes_back_the_same(tmp_path) -> None:
    made, given = model(), batch()
    made.save_pretrained(tmp_path)
    assert {p.suffix for p in tmp_path.iterdir()} == {".json", ".safetensors"}
    again = RiskModel.from_pretrained(tmp_path).eval()
    assert torch.equal(logits(again, given), logits(made, given))
    assert {n: t.tolist() for n, t in again.named_buffers()} == {
        n: t.tolist() for n, t in made.named_buffers()
    }


def test_a_width_that_heads_cannot_share_is_refused() -> None:
    with pytest.raises(ValueError, match="got width=10, heads=4"):
        RiskModel(RiskConfig(**SIZES | {"width": 10, "heads": 4}))


GOLDEN = [[-1.0643, -2.7004], [-0.6729, -2.5496], [0.3333, -1.1811], [0.2468, -1.9485]]
