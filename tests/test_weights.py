"""Weights come in from files of any kind and from other libraries, whole or not at all, with what they need."""

from __future__ import annotations

import copy
import hashlib
import http.server
import pickle
import sys
import threading
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from networks import quickly, twin
from safetensors.torch import save_file
from torch import nn

import convista
from convista.errors import InputError, WeightsError
from convista.models import WeightsReport, load_weights, port, prepare_pictures, save_weights
from convista.models.weights import download, find_weights
from convista.models.weights.fetch import origin_of_config
from convista.models.weights.keras import in_torch_order
from convista.models.weights.match import layers_of
from convista.records import Preprocessing


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_weights_come_back_from_a_file(tmp_path) -> None:
    net = convista.create("lenet5", classes=3)
    save_weights(net, tmp_path / "w.safetensors")
    again = convista.create("lenet5", classes=3, weights=tmp_path / "w.safetensors")
    assert same(net, again)
    assert again.weights.by == "name"
    assert again.weights.sha256 == hashlib.sha256((tmp_path / "w.safetensors").read_bytes()).hexdigest()
    assert convista.create("lenet5", weights=tmp_path / "w.safetensors").spec.classes == 3  # the file says how many


def test_weights_that_do_not_fit_are_refused_whole(tmp_path) -> None:
    torch.save(convista.create("resnet20", classes=3).state_dict(), tmp_path / "w.pth")
    net = convista.create("resnet32", classes=3)
    before = copy.deepcopy(net)
    with pytest.raises(WeightsError, match=r"\d+ missing: conv2_x\.block4"):
        load_weights(net, tmp_path / "w.pth")
    assert same(net, before)
    report = load_weights(net, tmp_path / "w.pth", partial=True)
    assert report.missing
    assert not report.complete
    assert "tensors loaded" in str(report)
    with pytest.raises(WeightsError, match="no weights called"):
        load_weights(net, tmp_path / "none")


def test_another_number_of_classes_leaves_the_head_fresh(tmp_path) -> None:
    net = convista.create("resnet20", classes=7)
    save_weights(net, tmp_path / "w.safetensors")
    other = convista.create("resnet20", classes=3, weights=tmp_path / "w.safetensors")
    assert other.weights.missing == ("head.linear.weight", "head.linear.bias")
    assert set(other.weights.unexpected) == {"head.linear.weight", "head.linear.bias"}
    assert torch.equal(other.conv1.conv.weight, net.conv1.conv.weight)
    assert other.spec.classes == 3


@pytest.mark.parametrize(("channels", "words"), [(1, "adapted to 1"), (4, "adapted to 4"), (6, "adapted to 6")])
def test_the_first_layer_is_adapted_to_other_channels(channels: int, words: str, tmp_path) -> None:
    """Grey pictures answer as if the grey were in each channel; so do four or six channels of the same grey."""
    net = convista.create("resnet18", classes=4).eval()
    save_weights(net, tmp_path / "w.safetensors")
    other = convista.create("resnet18", classes=4, channels=channels, weights=tmp_path / "w.safetensors").eval()
    assert words in other.weights.reshaped[0]
    grey = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        expected = net(grey.expand(-1, 3, -1, -1))
        answer = other(grey.expand(-1, channels, -1, -1))
    if channels % 3 in (0, 1) and channels != 4:
        assert torch.allclose(answer, expected, atol=1e-4 * float(expected.abs().max()))
    weight = other.conv1.conv.weight
    if channels == 4:
        assert torch.allclose(weight[:, 3], weight[:, 0])
    assert weight.shape[1] == channels


@pytest.mark.parametrize("wrap", ["module.", "model.", "_orig_mod.module."])
def test_torch_files_are_read_however_they_are_wrapped(wrap: str, tmp_path) -> None:
    theirs = twin("torchvision", "resnet18")
    state = OrderedDict((wrap + key, value) for key, value in theirs.state_dict().items())
    torch.save({"state_dict": state, "epoch": 3, "best": 0.5}, tmp_path / "c.pth")
    net = convista.create("resnet18", weights=tmp_path / "c.pth")
    assert net.spec.classes == 10
    assert torch.equal(net.head.linear.weight, theirs.fc.weight)
    torch.save(theirs.state_dict(), tmp_path / "old.th", _use_new_zipfile_serialization=False)
    assert same(convista.create("resnet18", weights=tmp_path / "old.th"), net)


def test_a_pickle_that_holds_more_than_tensors_is_refused(tmp_path) -> None:
    class Bomb:
        def __reduce__(self):
            return (Path(tmp_path / "exploded").touch, ())

    net = convista.create("resnet20")
    for name, write in (("a.pth", torch.save), ("b.pkl", lambda thing, path: path.write_bytes(pickle.dumps(thing)))):
        write({"state_dict": Bomb()}, tmp_path / name)
        with pytest.raises(WeightsError, match=r"more than plain tensors.*can run any code.*safetensors"):
            load_weights(net, tmp_path / name)
    assert not (tmp_path / "exploded").exists()
    torch.save(convista.create("resnet20"), tmp_path / "whole.pth")
    with pytest.raises(WeightsError, match="more than plain tensors"):
        load_weights(net, tmp_path / "whole.pth")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not really", b"\x89HDF\r\n\x1a\n cut", b"{}", b"x" * 64])
def test_a_damaged_file_ends_in_one_clear_error(content: bytes, tmp_path) -> None:
    (tmp_path / "w.bin").write_bytes(content)
    with pytest.raises(WeightsError, match=r"w\.bin"):
        load_weights(convista.create("resnet20"), tmp_path / "w.bin")


@pytest.mark.parametrize(
    ("library", "theirs", "ours"),
    [
        ("timm", "resnet18", "resnet18"),
        ("timm", "resnet50", "resnet50"),
        ("timm", "resnetv2_50", "resnet50_v2"),
        ("timm", "vgg11", "vgg11"),
        ("timm", "densenet121", "densenet121"),
        ("timm", "inception_v3", "inception_v3"),
        ("timm", "inception_resnet_v2", "inception_resnet_v2"),
        ("timm", "legacy_xception", "xception"),
        ("timm", "mobilenetv1_100", "mobilenet"),
        ("timm", "mobilenetv2_100", "mobilenet_v2"),
        ("timm", "efficientnet_b1", "efficientnet_b1"),
        ("timm", "nasnetalarge", "nasnet_large"),
        ("torchvision", "alexnet", "alexnet_owt"),
        ("torchvision", "googlenet", "googlenet_tv"),
        ("torchvision", "inception_v3", "inception_v3"),
        ("torchvision", "mobilenet_v2", "mobilenet_v2"),
        ("torchvision", "efficientnet_b0", "efficientnet_b0"),
    ],
)
def test_a_file_that_has_lost_the_order_of_its_layers_is_read_all_the_same(
    library: str, theirs: str, ours: str, tmp_path
) -> None:
    """Safetensors sorts its tensors: what is left are the names."""
    module = twin(library, theirs)
    save_file(dict(sorted(module.state_dict().items())), tmp_path / "model.safetensors")
    net = quickly(convista.spec(ours, classes=10))
    report = load_weights(net, tmp_path / "model.safetensors")
    assert report.complete
    other = quickly(convista.spec(ours, classes=10))
    port(other, module)
    assert same(net, other)


def test_port_fills_by_order_and_shape_where_names_say_nothing() -> None:
    theirs = nn.Sequential(*twin("torchvision", "vgg11").features, nn.Flatten(), nn.Linear(512, 10))
    spec = convista.Spec(
        "own", convista.blocks.Chain(**dict(convista.spec("vgg11").table.rows[:13]), head=convista.blocks.Head(10))
    )
    net = spec().eval()
    report = port(net, theirs)
    assert report.by == "order"
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(net(x), theirs(x), atol=1e-5)


def test_port_says_what_it_could_not_match() -> None:
    net, before = convista.create("resnet34", classes=10), None
    before = copy.deepcopy(net)
    with pytest.raises(WeightsError, match=r"missing: conv2_x\.block3.*\n.*Nothing was changed"):
        port(net, twin("torchvision", "resnet18"))
    assert same(net, before)
    report = port(net, twin("torchvision", "resnet18"), partial=True)
    assert any(key.startswith("conv3_x.block3") for key in report.missing)


def test_port_takes_over_the_constants_of_normalisation() -> None:
    theirs = twin("torchvision", "resnet18")
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps, module.momentum = 1e-2, 0.01
    net = convista.create("resnet18", classes=10)
    report = port(net, theirs)
    assert report.notes == ("normalisation now has eps 0.01 and momentum 0.01",)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(net.eval()(x), theirs.eval()(x), atol=1e-5)
        again = net.spec().eval()
        again.load_state_dict(net.state_dict())
        assert torch.equal(again(x), net(x))


def tensorflow_like(path: Path) -> None:
    """A file as a TensorFlow network's port leaves it, with the usual words in its header."""
    state = {f"module.{k}": v.clone() for k, v in convista.create("mobilenet_v2", classes=4).state_dict().items()}
    words = {"padding": "TensorFlow SAME", "bn_eps": "0.001", "input": "RGB, x/127.5-1", "licence": "Apache-2.0"}
    save_file(state, path, words)


def test_the_weights_choose_padding_and_epsilon_not_the_user(tmp_path) -> None:
    tensorflow_like(tmp_path / "w.safetensors")
    net = convista.create("mobilenet_v2", weights=tmp_path / "w.safetensors").eval()
    assert net.spec == convista.spec("mobilenet_v2", classes=4).padded_same().with_norm(1e-3)
    assert net.preprocessing.mean == net.preprocessing.std == (0.5, 0.5, 0.5)
    plain = convista.create("mobilenet_v2", classes=4)
    with pytest.raises(WeightsError, match=r"another padding or epsilon.*answer wrong.*create"):
        load_weights(plain, tmp_path / "w.safetensors")
    save_weights(net, tmp_path / "again.safetensors")
    again = convista.create("mobilenet_v2", weights=tmp_path / "again.safetensors").eval()
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(again(x), net(x))
    assert again.preprocessing == net.preprocessing


def test_other_pixels_than_those_of_the_present_weights_are_an_error(tmp_path) -> None:
    net = convista.create("resnet20", classes=3)
    for name, pixels in (("a", Preprocessing()), ("b", Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3))):
        net.preprocessing = pixels
        save_weights(net, tmp_path / f"{name}.safetensors")
    net = convista.create("resnet20", weights=tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match=r"expects pixels scaled by mean \(0.5, 0.5, 0.5\).*present weights by"):
        load_weights(net, tmp_path / "b.safetensors")


def test_folded_normalisation_comes_in_as_normalisation(tmp_path) -> None:
    """A file without running statistics, its convolutions with biases, answers as its own twin does."""
    net = convista.create("mobilenet_025", classes=5).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.normal_(module.bias)
    state, layers = {}, layers_of(net.state_dict())
    names = ["conv0", *(f"{kind}{i}" for i in range(1, 14) for kind in ("dw", "pw"))]
    for name, (conv, norm) in zip(names, zip(list(layers)[:-1:2], list(layers)[1:-1:2], strict=True), strict=True):
        n = layers[norm]
        scale = n["weight"] / (n["running_var"] + 1e-5).sqrt()
        state[f"{name}.weight"] = layers[conv]["weight"] * scale[:, None, None, None]
        state[f"{name}.bias"] = n["bias"] - n["running_mean"] * scale
    state["classifier.weight"], state["classifier.bias"] = (p.detach() for p in net.head.linear.parameters())
    save_file(state, tmp_path / "folded.safetensors")
    other = convista.create("mobilenet_025", weights=tmp_path / "folded.safetensors").eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(other(x), net(x), atol=1e-4 * float(net(x).abs().max()))


class Server(http.server.BaseHTTPRequestHandler):
    """A server that knows ranges, and breaks off the first time."""

    content = b""
    asked: list[str] = []  # noqa: RUF012  # shared on purpose
    cut = False

    def do_GET(self) -> None:
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        Server.asked.append(self.path)
        if "missing" in self.path:
            self.send_error(404)
            return
        body = Server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if Server.cut else body)

    def log_message(self, *args: object) -> None:
        """Silent."""


@pytest.fixture
def base():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_broken_download_goes_on_and_the_whole_file_is_checked(base: str, tmp_path) -> None:
    torch.save(convista.create("resnet20").state_dict(), tmp_path / "w.pth")
    Server.content = (tmp_path / "w.pth").read_bytes()
    name = f"resnet20-{hashlib.sha256(Server.content).hexdigest()[:8]}.pth"
    Server.cut = True
    with pytest.raises(WeightsError):
        download(name, base, tmp_path / "cache")
    part = tmp_path / "cache" / f"{name}.part"
    assert 0 < part.stat().st_size < len(Server.content)
    Server.cut, Server.asked = False, []
    file = download(name, base, tmp_path / "cache")
    assert file.read_bytes() == Server.content
    assert not part.exists()
    assert download(name, "http://127.0.0.1:9/", tmp_path / "cache") == file  # from the cache, without a network
    assert len(Server.asked) == 1
    file.write_bytes(b"changed")
    with pytest.raises(WeightsError, match="is not what was published: its sha256 is"):
        download(name, base, tmp_path / "cache")
    with pytest.raises(WeightsError, match="the server says 404"):
        download("missing-00000000.pth", base, tmp_path / "cache")


def test_a_missing_network_is_said_plainly(tmp_path, monkeypatch) -> None:
    with pytest.raises(WeightsError, match=r"seems to be no network.*give the file's path"):
        download("resnet20-12345678.pth", "http://127.0.0.1:9/", tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=r"timm/resnet18\.a1_in1k.*seems to be no network"):
        find_weights("timm/resnet18.a1_in1k")
    with pytest.raises(WeightsError, match=r"no weights called 'nothing'.*timm/resnet50"):
        find_weights("nothing")


def test_a_repository_of_the_hub_says_what_its_weights_expect(tmp_path, monkeypatch) -> None:
    theirs = twin("timm", "resnet18", 1000)
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    config = '{"architecture": "resnet18", "pretrained_cfg": {"input_size": [3, 288, 288], "crop_pct": 0.95, '
    config += '"interpolation": "bicubic", "mean": [0.1, 0.2, 0.3], "std": [1, 1, 1], "license": "apache-2.0"}}'
    (tmp_path / "config.json").write_text(config)
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda repository, name: str(tmp_path / name))
    net = convista.create("resnet18", weights="timm/resnet18.a1_in1k")
    assert net.preprocessing == Preprocessing(288, 303, (0.1, 0.2, 0.3), (1, 1, 1), "bicubic")
    assert net.weights.source == "timm/resnet18.a1_in1k"
    origin = origin_of_config({"architecture": "tf_efficientnet_b0", "pretrained_cfg": {}})
    assert (origin.padding, origin.eps) == ("same", 1e-3)


def test_keras_files_name_the_network_they_are_for(tmp_path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs["layer_names"] = ["conv1_conv"]
        group = file.create_group("conv1_conv")
        group.attrs["weight_names"] = ["conv1_conv/kernel:0"]
        group["conv1_conv/kernel:0"] = torch.zeros(7, 7, 3, 64).numpy()
    with pytest.raises(WeightsError, match=r"no network equal to resnet50. The nearest that it has is resnet50_v1"):
        convista.create("resnet50", weights=tmp_path / "w.h5")
    with h5py.File(tmp_path / "none.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(WeightsError, match="has no list of layers"):
        convista.create("resnet50_v1", weights=tmp_path / "none.h5")


def test_keras_flattens_position_by_position_and_caffe_reads_blue_first() -> None:
    maps, weight = torch.randn(2, 5, 3, 3), torch.randn(4, 45)
    theirs = nn.functional.linear(maps.permute(0, 2, 3, 1).flatten(1), weight)
    state = {"first.weight": torch.randn(2, 3, 3, 3), "fc.weight": weight}
    ours = in_torch_order(state, (5, 3), bgr=True)
    assert torch.allclose(nn.functional.linear(maps.flatten(1), ours["fc.weight"]), theirs, atol=1e-5)
    assert torch.equal(ours["first.weight"][:, 0], state["first.weight"][:, 2])
    assert convista.spec("vgg16").flattened == (512, 7)
    assert convista.spec("resnet18").flattened is None


def test_pictures_are_prepared_as_the_weights_say(tmp_path) -> None:
    from PIL import Image

    Image.new("RGB", (80, 40), (255, 0, 51)).save(tmp_path / "p.png")
    x = prepare_pictures(tmp_path / "p.png", Preprocessing(16, 20, (0.5, 0.0, 0.0), (0.5, 1.0, 0.2)))
    assert x.shape == (1, 3, 16, 16)
    assert x[0, :, 3, 3].tolist() == pytest.approx([1.0, 0.0, 1.0])
    with pytest.raises(InputError, match="not a readable picture"):
        prepare_pictures(tmp_path / "none.png", Preprocessing())


def test_weights_of_another_network_of_the_same_shapes_are_refused(tmp_path) -> None:
    for ours, other in (("resnet50", "resnet50_v1"), ("resnet20", "resnet20_plain")):
        save_weights(quickly(convista.spec(ours)), tmp_path / "w.safetensors")
        with pytest.raises(WeightsError, match=f"holds the weights of {ours}, and the network is {other}"):
            convista.create(other, weights=tmp_path / "w.safetensors")
    torch.save(twin("torchvision", "resnet50").state_dict(), tmp_path / "resnet50-0676ba61.pth")
    with pytest.raises(WeightsError, match="holds the weights of resnet50, and"):
        convista.create("resnet50_v1", weights=tmp_path / "resnet50-0676ba61.pth")
    with pytest.raises(WeightsError, match=r"has stride .*Nothing was changed"):
        port(convista.create("resnet50_v1", classes=10), twin("torchvision", "resnet50"))


def test_a_head_that_is_missing_is_not_passed_over(tmp_path) -> None:
    """Only who asks for other classes gets a fresh head."""
    net = convista.create("resnet20", classes=7)
    save_weights(net, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"do not fit[\s\S]*classes=") as caught:
        load_weights(convista.create("resnet20", classes=3), tmp_path / "w.safetensors")
    assert "head.linear.weight" in str(caught.value)
    save_file({k: v for k, v in net.state_dict().items() if "head" not in k}, tmp_path / "body.safetensors")
    with pytest.raises(WeightsError, match="2 missing: head"):
        convista.create("resnet20", weights=tmp_path / "body.safetensors")
    fine_tuned = twin("torchvision", "googlenet", 12)
    torch.save(fine_tuned.state_dict(), tmp_path / "fine.pth")
    assert convista.create("googlenet_tv", weights=tmp_path / "fine.pth").spec.classes == 12


def test_names_that_do_not_tell_the_order_are_refused(tmp_path) -> None:
    """Two layers of the same shape whose names are words: sorted by the alphabet they might be swapped."""
    body = {name: convista.blocks.Conv(8, norm=None) for name in ("first", "down", "across")}
    net = convista.Spec("own", convista.blocks.Chain(**body, head=convista.blocks.Head(3)), image=16)()
    names = {"first": "conv_in", "down": "mid_down", "across": "mid_across", "head": "fc"}
    state = {f"{names[k.split('.')[0]]}.{k.rpartition('.')[2]}": v for k, v in net.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="do not fit"):
        load_weights(net, tmp_path / "w.safetensors")


def test_numbers_that_are_no_weights_are_refused(tmp_path) -> None:
    net = convista.create("resnet20", classes=3)
    for change in (lambda t: (t * 100).to(torch.int8), lambda t: t * float("nan")):
        state = {k: change(v) if k == "conv1.conv.weight" else v for k, v in net.state_dict().items()}
        save_file(state, tmp_path / "w.safetensors")
        with pytest.raises(WeightsError, match=r"conv1\.conv\.weight holds"):
            load_weights(net, tmp_path / "w.safetensors")
    for state, words in (({"x": torch.zeros(3)}, {}), ({"a.weight": torch.tensor(1.0)}, {"bn_eps": "about 1e-3"})):
        save_file(state, tmp_path / "w.safetensors", words)
        with pytest.raises(WeightsError):
            load_weights(net, tmp_path / "w.safetensors")


def test_a_table_with_mixed_padding_keeps_it(tmp_path) -> None:
    conv = convista.blocks.Conv
    table = convista.blocks.Chain(same=conv(4, 3, 2, padding="same"), plain=conv(4, 3, 2), head=convista.blocks.Head(2))
    net = convista.Spec("mixed", table, image=16)().eval()
    save_weights(net, tmp_path / "w.safetensors")
    load_weights(net, tmp_path / "w.safetensors")
    again = convista.create(net.spec, weights=tmp_path / "w.safetensors").eval()
    x = torch.randn(1, 3, 16, 16)
    assert torch.equal(again(x), net(x))


def test_constants_reach_every_cell() -> None:
    net = quickly(convista.spec("nasnet_mobile", classes=2).with_norm(1e-2))
    assert {m.eps for m in net.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-2}


def test_a_file_of_the_hub_keeps_its_meaning_when_given_by_path(tmp_path) -> None:
    state = twin("timm", "efficientnet_b0", 5).state_dict()
    save_file(state, tmp_path / "model.safetensors")
    config = '{"architecture": "tf_efficientnet_b0", "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "num_classes": 5}}'
    (tmp_path / "config.json").write_text(config)
    net = convista.create("efficientnet_b0", weights=tmp_path / "model.safetensors")
    assert net.spec.padding == "same"
    assert net.stage1.norm.eps == 1e-3
    assert net.preprocessing.mean == (0.5, 0.5, 0.5)


def test_two_downloads_at_once_end_in_one_file(base: str, tmp_path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    Server.content, Server.cut = b"x" * 300_000, False
    name = f"w-{hashlib.sha256(Server.content).hexdigest()[:8]}.pth"
    with ThreadPoolExecutor(4) as pool:
        files = list(pool.map(lambda _: download(name, base, tmp_path), range(4)))
    assert all(file.read_bytes() == Server.content for file in files)
    for bad in ("../w-12345678.pth", "w.pth", "a/b-12345678.pth"):
        with pytest.raises(WeightsError, match="is no file name"):
            download(bad, base, tmp_path)


def test_published_weights_are_those_of_the_card(tmp_path, monkeypatch) -> None:
    def refuse(name: str) -> None:
        raise WeightsError(name)

    monkeypatch.setattr(sys.modules["convista.models.create"], "find_weights", refuse)
    with pytest.raises(WeightsError, match=r"resnet50-0676ba61\.pth"):
        convista.create("resnet50", weights="published")
    with pytest.raises(WeightsError, match="No weights of lenet5 can be fetched by name"):
        convista.create("lenet5", weights="published")


def test_a_run_s_weights_carry_its_pixels(tmp_path) -> None:
    run = convista.train("digits", model="lenet5", epochs=1, out=tmp_path / "run")
    net = convista.create("lenet5", weights=tmp_path / "run" / "model.safetensors")
    assert (net.preprocessing.mean, net.preprocessing.std) == (run.view.mean, run.view.std)


def test_the_report_reads_as_four_lists() -> None:
    report = WeightsReport(("a", "b"), ("c",), ("d",), ("e: as f",), "order", "file", notes=("g",))
    assert str(report) == (
        "2 tensors loaded from file, matched by order\n  1 missing: c\n  1 unexpected: d\n  1 reshaped: e: as f\n"
        "  note: g"
    )
