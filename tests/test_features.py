"""evaluation/features/extractors.py and feature_cache.py: every kind of network, its pixels, what is kept."""

from __future__ import annotations

import dataclasses
import hashlib
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from open_tunit import TUNIT
from open_tunit.data.dataset import Dataset, open_dataset
from open_tunit.evaluation.features import extractors as features
from open_tunit.evaluation.features.extractors import FeatureNetwork, open_features, resize
from open_tunit.evaluation.features.feature_cache import pictures, real_features
from open_tunit.evaluation.figures import names_of
from open_tunit.settings.config import Data, Model

SIZE = 32


class _Mean(nn.Module):
    """Mean of each channel and of its square: (N, 6)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.mean(dim=(2, 3)), x.square().mean(dim=(2, 3))], dim=1)


class _Image(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2


@pytest.fixture(scope="module")
def model() -> TUNIT:
    torch.manual_seed(0)
    return TUNIT(Model(size=SIZE, domains=3, style_dim=8, guiding_width=4, generator_width=4)).eval()


@pytest.fixture
def images() -> Tensor:
    pixels = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (5, 3, SIZE, SIZE)))
    return pixels.float() / 127.5 - 1


def _script(network: nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(network).save(str(path))
    return path


def _expected(images: Tensor, pixel_range: str) -> np.ndarray:
    pixels = np.round((images.double().numpy() + 1) * 127.5)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    x = {
        "0..255": pixels,
        "0..1": pixels / 255,
        "-1..1": pixels / 255 * 2 - 1,
        "imagenet": (pixels / 255 - mean[:, None, None]) / std[:, None, None],
    }[pixel_range]
    return np.concatenate([x.mean(axis=(2, 3)), (x**2).mean(axis=(2, 3))], axis=1)


@pytest.mark.parametrize(("side", "target"), [(32, 75), (64, 24), (128, 50)])
def test_resizing_is_pillows_bicubic_in_float(side: int, target: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, side, side)).astype(np.float32)
    planes = [Image.fromarray(plane).resize((target, target), Image.Resampling.BICUBIC) for plane in pixels]
    expected = np.stack([np.asarray(plane) for plane in planes]).clip(0, 255)
    np.testing.assert_allclose(resize(torch.from_numpy(pixels)[None], target)[0].numpy(), expected, atol=2e-3)


def test_own_features_are_those_of_E(model: TUNIT, images: Tensor, tmp_path: Path) -> None:
    network = open_features(None, model, cache_root=tmp_path)
    with torch.inference_mode():
        expected = model.E.trunk(images).mean(dim=(2, 3))
    torch.testing.assert_close(network(images), expected)
    torch.testing.assert_close(network(images + 1e-3), expected)  # rounded to 8 bits, as a saved picture is
    assert network.name == "E"
    assert open_features("own", model, cache_root=tmp_path).identity == network.identity


@pytest.mark.parametrize("pixel_range", ["0..255", "0..1", "-1..1", "imagenet"])
def test_a_torchscript_file_gets_the_pixels_it_wants(
    model: TUNIT, images: Tensor, tmp_path: Path, pixel_range: str
) -> None:
    path = _script(_Mean(), tmp_path / "colour-mean.v2.ts")
    network = open_features(str(path), model, cache_root=tmp_path, pixel_range=pixel_range)
    np.testing.assert_allclose(network(images).numpy(), _expected(images, pixel_range), rtol=1e-4, atol=1e-5)
    assert network.name == "colour-mean.v2"
    assert network.identity == hashlib.sha256(path.read_bytes()).hexdigest()
    assert pixel_range in network.rule
    assert "as they are" in network.rule
    assert not network.is_inception
    assert names_of(network)("frechet_distance") == "frechet_distance_colour_mean_v2"


def test_a_side_resizes_first(model: TUNIT, images: Tensor, tmp_path: Path) -> None:
    path = _script(_Mean(), tmp_path / "mean.ts")
    network = open_features(str(path), model, cache_root=tmp_path, side=20)
    expected = _Mean()(resize(images.add(1).mul(127.5), 20))
    torch.testing.assert_close(network(images), expected, rtol=1e-4, atol=1e-3)
    assert "to 20 px" in network.rule


def test_a_torch_export_file(model: TUNIT, images: Tensor, tmp_path: Path) -> None:
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(_Mean(), (torch.rand(2, 3, SIZE, SIZE),), dynamic_shapes=(batch,))
    torch.export.save(program, tmp_path / "mean.pt2")
    network = open_features(str(tmp_path / "mean.pt2"), model, cache_root=tmp_path, pixel_range="0..1")
    np.testing.assert_allclose(network(images).numpy(), _expected(images, "0..1"), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("whole", [False, True])
def test_an_onnx_file(model: TUNIT, images: Tensor, tmp_path: Path, whole: bool) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: install the extra `export`")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: install the extra `export`")
    kind = onnx.TensorProto.UINT8 if whole else onnx.TensorProto.FLOAT
    make = onnx.helper
    given = make.make_tensor_value_info("x", kind, ["n", 3, 20, 20])
    result = make.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 3, 1, 1])
    nodes = [make.make_node("Cast", ["x"], ["f"], to=onnx.TensorProto.FLOAT)]
    nodes.append(make.make_node("GlobalAveragePool", ["f"], ["y"]))
    graph = make.make_graph(nodes, "mean", [given], [result])
    program = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=9)
    onnx.save(program, tmp_path / "mean.onnx")
    network = open_features(str(tmp_path / "mean.onnx"), model, cache_root=tmp_path)
    sized = resize(images.add(1).mul(127.5).round(), 20)
    expected = (sized.round() if whole else sized).mean(dim=(2, 3))
    torch.testing.assert_close(network(images), expected, rtol=1e-4, atol=1e-3)
    assert "to 20 px" in network.rule


@pytest.mark.parametrize(("given", "results"), [(("x",), ("y", "z")), (("x", "w"), ("y",))])
def test_an_onnx_file_of_several_inputs_or_outputs(
    model: TUNIT, tmp_path: Path, given: tuple[str, ...], results: tuple[str, ...]
) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: install the extra `export`")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: install the extra `export`")
    make, kind = onnx.helper, onnx.TensorProto.FLOAT
    inputs = [make.make_tensor_value_info(name, kind, ["n", 3, "h", "w"]) for name in given]
    outputs = [make.make_tensor_value_info(name, kind, ["n", 3, 1, 1]) for name in results]
    nodes = [make.make_node("GlobalAveragePool", [given[-1]], [name]) for name in results]
    graph = make.make_graph(nodes, "several", inputs, outputs)
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=9), tmp_path / "n.onnx")
    with pytest.raises(ValueError, match=f"{len(given)} inputs and {len(results)} outputs; expected one of each"):
        open_features(str(tmp_path / "n.onnx"), model, cache_root=tmp_path)


def test_an_archive_of_something_else(model: TUNIT, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile(tmp_path / "other.pt2", "w") as archive:
        archive.writestr("a", "b")
    with pytest.raises(ValueError, match=r"no archive of torch\.export, or a damaged one"):
        open_features(str(tmp_path / "other.pt2"), model, cache_root=tmp_path)
    assert capfd.readouterr().err == ""


class _Both(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


def test_files_that_are_no_feature_network(model: TUNIT, tmp_path: Path) -> None:
    for name in ("words.ts", "words.pt2"):
        (tmp_path / name).write_text("not a network")
        with pytest.raises(ValueError, match=r"is no TorchScript, torch\.export or ONNX network"):
            open_features(str(tmp_path / name), model, cache_root=tmp_path)
    with pytest.raises(ValueError, match=r"gives \(2, 3, 32, 32\) for 2 images; expected finite features \(2, d\)"):
        open_features(str(_script(_Image(), tmp_path / "image.ts")), model, cache_root=tmp_path)
    with pytest.raises(ValueError, match=r"gives tuple for 2 images; expected finite features \(2, d\)"):
        open_features(str(_script(_Both(), tmp_path / "both.ts")), model, cache_root=tmp_path)
    with pytest.raises(ValueError, match="does not take images"):
        open_features(str(_script(nn.Linear(7, 2), tmp_path / "linear.ts")), model, cache_root=tmp_path)
    with pytest.raises(FileNotFoundError, match="is no file; expected own, inception or a network's file"):
        open_features(str(tmp_path / "absent.ts"), model, cache_root=tmp_path)
    with pytest.raises(ValueError, match="features side is 0; at least 1 pixel is needed"):
        open_features(None, model, cache_root=tmp_path, side=0)
    with pytest.raises(ValueError, match=r"features range is '0\.\.7'; expected one of 0\.\.255"):
        open_features(None, model, cache_root=tmp_path, pixel_range="0..7")


def test_fids_weights_are_known_by_their_hash(model: TUNIT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "renamed.pth"
    path.write_bytes(b"stand-in")
    opened = []

    def stand_in(cache_root: Path, file: Path | None) -> nn.Module:
        opened.append(file)
        return _Mean()

    monkeypatch.setattr(features, "SHA256_PREFIX", hashlib.sha256(b"stand-in").hexdigest()[:8])
    monkeypatch.setattr(features, "load_inception", stand_in)
    network = open_features(str(path), model, cache_root=tmp_path)
    assert opened == [path]
    assert network.is_inception
    names = names_of(network)
    assert [names(n) for n in ("frechet_distance", "mean_frechet_distance", "kernel_distance", "recall")] == [
        "fid", "mfid", "kid", "recall_inception",
    ]  # fmt: skip
    x = torch.zeros(2, 3, SIZE, SIZE) + 127 / 127.5 - 1
    torch.testing.assert_close(network(x)[:, :3], torch.full((2, 3), 127 / 127.5 - 1), atol=1e-4, rtol=0)
    assert "299" in network.rule


def test_a_published_network(model: TUNIT, images: Tensor, fixtures: Path, tmp_path: Path) -> None:
    path = fixtures / "nets" / "mobilenet_v2_features.ts"
    network = open_features(str(path), model, cache_root=tmp_path)
    found = network(images[:2])
    assert found.shape == (2, 1280)
    assert names_of(network)("frechet_distance") == "frechet_distance_mobilenet_v2_features"


@pytest.fixture
def dataset(picture_folder: Path) -> Dataset:
    return open_dataset(Data(folder=str(picture_folder)), size=SIZE, seed=0)


def _counting(calls: list[int]) -> FeatureNetwork:
    def run(pixels: Tensor) -> Tensor:
        calls.append(len(pixels))
        return _Mean()(pixels)

    return FeatureNetwork("mean", "rule", "identity", run)


def test_real_features_are_kept_by_their_pixels(dataset: Dataset, tmp_path: Path) -> None:
    calls: list[int] = []
    network, indices = _counting(calls), np.arange(10)
    first = real_features(network, dataset, indices, tmp_path)
    torch.testing.assert_close(first, network(pictures(dataset, indices)))
    calls.clear()
    torch.testing.assert_close(real_features(network, dataset, indices, tmp_path), first)
    assert calls == []
    for other in (indices[::-1], indices[:-1]):
        real_features(network, dataset, other.copy(), tmp_path)
    real_features(dataclasses.replace(network, rule="other rule"), dataset, indices, tmp_path)
    assert calls == [10, 9, 10]


def test_damaged_features_are_computed_again(dataset: Dataset, tmp_path: Path) -> None:
    calls: list[int] = []
    network, indices = _counting(calls), np.arange(10)
    first = real_features(network, dataset, indices, tmp_path)
    (path,) = (tmp_path / "features").iterdir()
    whole = path.read_bytes()
    for damaged in (whole[:-9], whole[:-1] + bytes([whole[-1] ^ 1]), b"", b"rubbish" * 10):
        path.write_bytes(damaged)
        calls.clear()
        with pytest.warns(UserWarning, match="is damaged; making features of real images again"):
            again = real_features(network, dataset, indices, tmp_path)
        torch.testing.assert_close(again, first)
        assert calls == [10]
        assert path.read_bytes() == whole
