"""domains.yaml: what the user calls the domains, and what becomes one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from open_tunit import TUNIT
from open_tunit.model_files.naming import Naming, names_of_labels, read_naming
from open_tunit.settings.config import Model
from open_tunit.settings.conversion import ConfigError

SHAPES = Model(size=32, domains=4, style_dim=8, guiding_width=4, generator_width=4, style_mlp_width=16)


def written(folder: Path, text: str) -> Path:
    (folder / "domains.yaml").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model folder of four domains with 3, 1, 0 and 5 images."""
    torch.manual_seed(0)
    network = TUNIT(SHAPES).eval()
    with torch.no_grad():
        network.E.domain_head.weight.normal_(std=3.0)
    network.domain_styles.normal_()
    network.domain_counts.copy_(torch.tensor([3, 1, 0, 5]))
    network.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_without_a_file_domains_are_called_by_their_numbers(tmp_path: Path) -> None:
    assert read_naming(tmp_path, 3) == Naming(("0", "1", "2"), (0, 1, 2))
    assert read_naming(written(tmp_path, "# cat: 0\n"), 3) == Naming.plain(3)


def test_names_and_merges(tmp_path: Path) -> None:
    naming = read_naming(written(tmp_path, "cat: [3, 0]\nСобака & co: 1\n"), 4)
    assert naming.names == ("cat", "Собака & co", "2", "cat")
    assert naming.heads == (0, 1, 2, 0)
    found = {word: naming.number(word) for word in (0, 1, 2, 3, "0", "3", "cat", "Собака & co", "2")}
    assert found == {0: 0, 1: 1, 2: 2, 3: 0, "0": 0, "3": 0, "cat": 0, "Собака & co": 1, "2": 2}
    assert yaml.safe_load(naming.to_yaml()) == {"cat": [0, 3], "Собака & co": 1}


def test_a_merge_may_keep_a_number_for_its_name(tmp_path: Path) -> None:
    naming = read_naming(written(tmp_path, "'2': [1, 2]\n"), 4)
    assert naming.names == ("0", "2", "2", "3")
    assert naming.number("2") == 1
    assert yaml.safe_load(naming.to_yaml()) == {"2": [1, 2]}


@pytest.mark.parametrize("word", ["dog", "", "4", "-1", 4, -1, "1.0", 1.7, float("nan"), float("inf"), np.float32(0.5)])
def test_no_such_domain(tmp_path: Path, word: int | str) -> None:
    naming = read_naming(written(tmp_path, "cat: [3, 0]\nfox: 1\n"), 4)
    with pytest.raises(ValueError, match=r"^domain is .*; this model has domains 0 to 3 \(cat, fox\)$"):
        naming.number(word)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- cat\n", "holds list; expected lines of NAME: NUMBER"),
        ("cat: 4\n", "cat is 4; expected domains from 0 to 3"),
        ("cat: -1\n", "cat is -1"),
        ("cat: true\n", "cat is True"),
        ("cat: [0, tail]\n", "cat is 'tail'"),
        ("cat: []\n", "cat names no domain"),
        ("cat:\n", "cat is None"),
        ("cat: [1, 1]\n", "cat names a domain twice"),
        ("cat: [0, 1]\ndog: 1\n", "domain 1 is both cat and dog"),
        ("cat: 0\ncat: 1\n", "'cat' is given twice in line 1"),
        ("no: 0\n", "False is no name"),
        ("3: 0\n", "3 is no name"),
        ("'3': 0\n", "'3' is another domain's number"),
        ("all: 0\n", "'all' is no name"),
        ("../cat: 0\n", "'../cat' is no name"),
        ("'': 0\n", "'' is no name"),
        (f"{'a' * 61}: 0\n", "is no name; expected up to 60 characters"),
        ("cat: [0\n", "is not valid YAML"),
        ("cat: !!python/name:os.system 0\n", "is not valid YAML"),
    ],
)
def test_files_that_cannot_be(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_naming(written(tmp_path, text), 4)
    assert said in str(caught.value)
    assert str(tmp_path / "domains.yaml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "domains.yaml").write_bytes(b"\xff\xfe\x00cat: 0")
    with pytest.raises(ConfigError, match="is not valid YAML"):
        read_naming(tmp_path, 4)


def test_merged_domains_count_as_one(model: Path) -> None:
    raw = TUNIT.from_pretrained(model)
    written(model, "cat: [3, 0]\nfox: 1\n")
    named = TUNIT.from_pretrained(model)
    x = torch.rand(7, 3, 32, 32) * 2 - 1
    before, after = raw.domains(x), named.domains(x)
    torch.testing.assert_close(after[:, 0], before[:, 0] + before[:, 3])
    torch.testing.assert_close(after[:, 1:3], before[:, 1:3])
    assert after[:, 3].abs().max() == 0
    assert named.domain_counts.tolist() == [8, 1, 0, 0]
    mean = (3 * raw.domain_styles[0] + 5 * raw.domain_styles[3]) / 8
    for word in (0, 3, "cat"):
        torch.testing.assert_close(named.domain_style(word), mean)
    torch.testing.assert_close(named.domain_style("fox"), raw.domain_styles[1])
    expected = named.G(x, mean.expand(7, -1))
    torch.testing.assert_close(named.translate(x, domain="cat"), expected)
    with pytest.raises(ValueError, match="domain 2 has no typical style"):
        named.domain_style(2)


def test_measuring_sorts_into_merged_domains(model: Path) -> None:
    written(model, "cat: [3, 0]\n")
    named = TUNIT.from_pretrained(model)
    x = torch.rand(64, 3, 32, 32) * 2 - 1
    labels = named.domains(x).argmax(dim=1)
    named.measure_domains([x[:40], x[40:]])
    assert named.domain_counts.tolist() == torch.bincount(labels, minlength=4).tolist()
    assert named.domain_counts[3] == 0


def test_names_are_saved_with_the_model_and_never_taken_away(model: Path, tmp_path: Path) -> None:
    plain = TUNIT.from_pretrained(model)
    written(model, "cat: [3, 0]\n")
    named = TUNIT.from_pretrained(model)
    named.save_pretrained(tmp_path / "copy")
    again = TUNIT.from_pretrained(tmp_path / "copy")
    assert again.naming == named.naming
    torch.testing.assert_close(again.domain_styles[0], named.domain_styles[0])
    assert again.domain_counts.tolist() == named.domain_counts.tolist()
    plain.save_pretrained(model)
    assert (model / "domains.yaml").read_text() == "cat: [3, 0]\n"


def test_aliases_are_not_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="aliases are not read"):
        read_naming(written(tmp_path, "cat: &a [0]\nfox: *a\n"), 4)


@pytest.mark.parametrize("text", ["x" * 10**5 + ": 0\n", "? [" + "0," * 10**4 + "0]\n: 1\n", "a: " + "[" * 20_000])
def test_what_is_wrong_is_named_in_a_short_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_naming(written(tmp_path, text), 4)
    assert len(str(caught.value)) < 500


def test_names_over_the_labels_of_training(tmp_path: Path) -> None:
    labels = ("ape", "bear", "cat", "dog")
    assert read_naming(tmp_path, 4, labels).names == labels
    naming = read_naming(written(tmp_path, "pets: [3, 2]\nmonkey: 0\n"), 4, labels)
    assert naming.names == ("monkey", "bear", "pets", "pets")
    assert [naming.number(word) for word in ("monkey", "bear", "pets", "3")] == [0, 1, 2, 2]
    assert yaml.safe_load(naming.to_yaml()) == {"monkey": 0, "pets": [2, 3]}
    with pytest.raises(ValueError, match="domain is ape"):
        naming.number("ape")  # the user calls it otherwise
    with pytest.raises(ConfigError, match="'bear' is the label of domain 1"):
        read_naming(written(tmp_path, "bear: 0\n"), 4, labels)
    assert read_naming(written(tmp_path, "bear: 0\nape: 1\n"), 4, labels).names == ("bear", "ape", "cat", "dog")


def test_labels_that_cannot_be_names_are_changed() -> None:
    labels = ["0", "7", "2", " all", "all", ".x", "a/b", "a\\b", "", "w" * 70, "w" * 71, "line\nfeed", "é"]
    names = names_of_labels(labels)
    assert names[:3] == ("0", "label_7", "2")
    assert names[3:9] == ("label_all", "label_all_4", "label_.x", "a_b", "a_b_7", "label_")
    assert names[9:] == ("w" * 60, f"{'w' * 30}_10", "line_feed", "é")
    assert Naming.of({name: number for number, name in enumerate(names)}, len(names)).names == names
    plain = Naming.plain(len(names), names)
    assert [plain.number(name) for name in names] == list(range(len(names)))


def test_labels_are_saved_with_the_model_and_the_users_names_beside_them(model: Path, tmp_path: Path) -> None:
    network = TUNIT.from_pretrained(model)
    network.naming = Naming.plain(4, ("ape", "bear", "cat", "dog"))
    network.save_pretrained(tmp_path / "labelled")
    assert not (tmp_path / "labelled" / "domains.yaml").exists()
    assert TUNIT.from_pretrained(tmp_path / "labelled").naming == network.naming
    named = TUNIT.from_pretrained(written(tmp_path / "labelled", "pets: [2, 3]\n"))
    named.save_pretrained(tmp_path / "again")
    assert TUNIT.from_pretrained(tmp_path / "again").naming == named.naming
