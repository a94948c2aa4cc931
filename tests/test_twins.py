"""Every network that another library has too gives the same answers, learning and learnt, and the same gradients."""

from __future__ import annotations

import os

import pytest
import torch
from networks import SIDES, TIMM, TORCHVISION, quickly, twin, without_chance
from torch import Tensor, nn

import convista
from convista.models import NETWORKS, port

PAIRS = [("torchvision", *pair) for pair in TORCHVISION.items()] + [("timm", *pair) for pair in TIMM.items()]
BIG = {
    "vgg13",
    "vgg19",
    "vgg13_bn",
    "vgg16_bn",
    "vgg19_bn",
    "resnext101_64x4d",
    "efficientnet_b6",
}  # like their sisters


def pair(library: str, ours: str, theirs: str) -> tuple[convista.Net, nn.Module]:
    net, other = quickly(NETWORKS[ours].spec(10, auxiliary=library == "torchvision")), twin(library, theirs)
    report = port(without_chance(net), other)
    assert not report.missing
    assert not report.unexpected
    return net, other


def answers(out: object) -> list[Tensor]:
    """All logits, the network's own first and the heads on the side in the order of depth."""
    if isinstance(out, Tensor):
        return [out]
    if isinstance(out, dict):
        *early, last = out.values()
        return [last, *early]
    own, *early = [logits for logits in out if logits is not None]  # type: ignore[attr-defined]
    return [own, *reversed(early)] if len(early) == 2 else [own, *early]


@pytest.mark.parametrize(("library", "ours", "theirs"), [p for p in PAIRS if p[1] not in BIG])
def test_the_answers_are_the_twins(library: str, ours: str, theirs: str) -> None:
    net, other = pair(library, ours, theirs)
    side = SIDES.get(ours, 64)
    x = torch.randn(2, 3, side, side + 11)
    for training in (False, True):
        net.train(training)
        other.train(training)
        with torch.no_grad():
            a, b = answers(net(x, answers=training)), answers(other(x))
        for mine, twins in zip(a[: len(b)], b, strict=True):
            assert torch.allclose(mine, twins, atol=1e-5 * float(twins.abs().max())), f"training={training}"


@pytest.mark.parametrize(
    ("library", "ours", "theirs"),
    [
        ("torchvision", "alexnet_owt", "alexnet"),
        ("torchvision", "vgg11_bn", "vgg11_bn"),
        ("torchvision", "googlenet_tv", "googlenet"),
        ("torchvision", "resnet18", "resnet18"),
        ("torchvision", "resnet50", "resnet50"),
        ("torchvision", "resnext50_32x4d", "resnext50_32x4d"),
        ("torchvision", "densenet121", "densenet121"),
        ("torchvision", "mobilenet_v2", "mobilenet_v2"),
        ("torchvision", "efficientnet_b0", "efficientnet_b0"),
        ("timm", "inception_v3", "inception_v3"),
        ("timm", "inception_resnet_v2", "inception_resnet_v2"),
        ("timm", "resnet50_v2", "resnetv2_50"),
        ("timm", "xception", "legacy_xception"),
        ("timm", "mobilenet", "mobilenetv1_100"),
        ("timm", "nasnet_large", "nasnetalarge"),
    ],
)
def test_the_gradients_are_the_twins(library: str, ours: str, theirs: str) -> None:
    """After the step back, the twin's gradients are carried over just as its weights were, and compared."""
    net, other = pair(library, ours, theirs)
    side = min(SIDES.get(ours, 64), 139)
    x = torch.randn(2, 3, side, side)
    for module in (net, other):
        module.eval()
        module(x).square().sum().backward()
    with torch.no_grad():
        for module in (net, other):
            for parameter in module.parameters():
                parameter.copy_(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
    mine = {name: p.detach().clone() for name, p in net.named_parameters()}
    port(net, other)
    for name, parameter in net.named_parameters():
        assert torch.allclose(mine[name], parameter, atol=1e-5 * float(parameter.detach().abs().max())), name


def keras_twin(name: str) -> object:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras", reason="keras is not installed")
    from keras.src.applications.nasnet import NASNet

    words = {"weights": None, "classes": 10, "classifier_activation": None}
    small = {"input_shape": (64, 64, 3)}
    makers = {
        "vgg16": lambda: keras.applications.VGG16(input_shape=(64, 64, 3), **words),
        "resnet50_v1": lambda: keras.applications.ResNet50(**small, **words),
        "densenet121": lambda: keras.applications.DenseNet121(**small, **words),
        "inception_v3": lambda: keras.applications.InceptionV3(input_shape=(96, 96, 3), **words),
        "inception_resnet_v2": lambda: keras.applications.InceptionResNetV2(input_shape=(96, 96, 3), **words),
        "xception": lambda: keras.applications.Xception(input_shape=(96, 96, 3), **words),
        "mobilenet_025": lambda: keras.applications.MobileNet(alpha=0.25, **small, **words),
        "mobilenet_v2_035": lambda: keras.applications.MobileNetV2(alpha=0.35, **small, **words),
        "efficientnet_b1": lambda: keras.applications.EfficientNetB1(**small, **words),
        # keras.applications refuses NASNetMobile on torch; what it calls inside does not.
        "nasnet_mobile": lambda: NASNet(
            input_shape=(65, 65, 3), penultimate_filters=1056, num_blocks=4, stem_block_filters=32,
            skip_reduction=False, filter_multiplier=2, default_size=224, **words,
        ),
    }  # fmt: skip
    keras.utils.set_random_seed(1)
    model = makers[name]()
    generator = torch.Generator().manual_seed(3)
    for weight in model.weights:
        kind = weight.path.rpartition("/")[2]
        if kind in ("gamma", "moving_variance"):
            weight.assign(0.5 + torch.rand(weight.shape, generator=generator))
        elif kind in ("beta", "moving_mean", "bias"):
            weight.assign(0.1 * torch.randn(weight.shape, generator=generator))
    return model


@pytest.mark.parametrize(
    "name",
    [
        "resnet50_v1", "densenet121", "inception_v3", "inception_resnet_v2", "xception", "mobilenet_025",
        "mobilenet_v2_035", "efficientnet_b1", "nasnet_mobile",
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_weights_of_keras_answer_as_in_keras(name: str, tmp_path) -> None:
    model = keras_twin(name)
    model.save(tmp_path / "w.h5")
    net = convista.create(name, weights=tmp_path / "w.h5").eval()
    assert net.spec.classes == 10
    assert net.weights.complete
    side = model.input_shape[1]
    pixels = torch.randint(0, 256, (2, 3, side, side)).float()
    mean, std = (torch.tensor(v).reshape(3, 1, 1) for v in (net.preprocessing.mean, net.preprocessing.std))
    ours = (pixels / 255 - mean) / std
    theirs = pixels / 127.5 - 1
    if name == "resnet50_v1":  # Caffe's pixels: B G R, minus a mean
        theirs = (pixels - mean * 255).flip(1)
    if name == "densenet121":
        theirs = ours
    if name == "efficientnet_b1":  # rescales by itself, and normalises by what is 0 and 1 before training
        ours, theirs = pixels / 255, pixels
    with torch.no_grad():
        a, b = net(ours), model(theirs.permute(0, 2, 3, 1), training=False).detach()
    assert torch.allclose(a, b, atol=1e-5 * float(b.abs().max()))
