"""Neighbours, retrieval, suspects and maps of feature vectors; each against a slow twin written from the definition."""

from __future__ import annotations

import base64
import io
import json
import math
import re
from html.parser import HTMLParser
from itertools import combinations, permutations
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from convista.errors import InputError
from convista.reports import Gallery, map_page, neighbours_page
from convista.reports.sprites import sprite
from convista.transfer import disagreeing, duplicates, nearest, pca, project, retrieval
from convista.transfer import neighbours as search
from convista.transfer import points as space

Floats = NDArray[np.floating[Any]]


def distances_of(a: Floats, b: Floats, metric: str) -> NDArray[np.float64]:
    """All distances, one by one, from the definition."""
    found = np.empty((len(a), len(b)))
    for i, x in enumerate(a.astype(np.float64)):
        for j, y in enumerate(b.astype(np.float64)):
            if metric == "l2":
                found[i, j] = np.sqrt(np.square(x - y).sum())
            else:
                found[i, j] = 1 - (x @ y) / (np.linalg.norm(x) * np.linalg.norm(y))
    return found


def twin(a: Floats, b: Floats, k: int, metric: str, exclude: bool = False) -> tuple[Floats, NDArray[np.int64]]:
    """Everything is sorted; a stable sort leaves equal distances in the order of their rows."""
    far = distances_of(a, b, metric)
    if exclude:
        np.fill_diagonal(far, np.inf)
    order = np.argsort(far, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(far, order, 1), order


def random(n: int, d: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(n, d))


CLUSTERED = np.repeat(random(3, 32, 9) * 5, 40, 0)
HARD = {
    "plain": random(120, 32),
    "float32": random(120, 32).astype(np.float32),
    "half": random(120, 32).astype(np.float16),
    "offset": (random(120, 32) + 1000).astype(np.float32),
    "far offset": random(120, 32) + 1e9,
    "copies": np.repeat(random(20, 32), 6, 0),
    "many copies": np.repeat(random(3, 32), 40, 0),
    "all the same": np.repeat(random(1, 32), 120, 0),
    "ties": np.random.default_rng(1).integers(-1, 2, (120, 4)) + np.array([0.0, 0, 0, 7]),
    "a corner": np.eye(120),
    "nearly the same": np.repeat(random(1, 32), 120, 0) + 1e-9 * random(120, 32),
    "clusters": CLUSTERED + 1e-4 * random(120, 32),
    "an outlier": np.concatenate([random(119, 32), np.full((1, 32), 1e7)]),
    "huge": random(120, 32) * 1e200,
    "tiny": random(120, 32) * 1e-200,
    "one number": np.random.default_rng(2).permutation(120).reshape(-1, 1) + 1.0,
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(HARD))
@pytest.mark.parametrize("exclude", [False, True])
@pytest.mark.parametrize("k", [1, 10, 119])
def test_l2_neighbours_are_those_of_brute_force_with_ties_by_row(kind: str, exclude: bool, k: int) -> None:
    scale = {"huge": 1e-200, "tiny": 1e200}.get(kind, 1.0)  # the twin squares without care
    expected, order = twin(HARD[kind] * scale, HARD[kind] * scale, k, "l2", exclude)
    distances, rows = nearest(HARD[kind], HARD[kind], k, exclude_self=exclude)
    if scale == 1:
        assert np.array_equal(rows, order)
        assert np.array_equal(distances, expected)
    else:
        assert (rows == order).mean() > 0.999
        assert np.allclose(distances * scale, expected, rtol=1e-12)


@pytest.mark.parametrize("kind", sorted(set(HARD) - {"ties"}))
@pytest.mark.parametrize("exclude", [False, True])
def test_cosine_neighbours_are_those_of_brute_force(kind: str, exclude: bool) -> None:
    scale = {"huge": 1e-200, "tiny": 1e200}.get(kind, 1.0)
    expected, _ = twin(HARD[kind] * scale, HARD[kind] * scale, 10, "cosine", exclude)
    distances, rows = nearest(HARD[kind], HARD[kind], 10, "cosine", exclude)
    assert np.allclose(distances, expected, rtol=1e-9, atol=1e-14)
    every = distances_of(HARD[kind] * scale, HARD[kind] * scale, "cosine")
    assert np.allclose(np.take_along_axis(every, rows, 1), expected, rtol=1e-9, atol=1e-14)
    assert (np.sort(rows, 1)[:, 1:] > np.sort(rows, 1)[:, :-1]).all()


def test_queries_need_not_be_among_the_features() -> None:
    a, b = random(40, 16, 1).astype(np.float32) + 30, random(90, 16, 2).astype(np.float32)
    for metric in ("l2", "cosine"):
        expected, order = twin(a, b, 7, metric)
        distances, rows = nearest(a, b, 7, metric)
        assert np.array_equal(rows, order)
        assert np.allclose(distances, expected, rtol=1e-12)


@pytest.mark.parametrize("kind", sorted(HARD))
@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_a_row_is_at_exactly_zero_from_itself(kind: str, metric: str) -> None:
    distances, rows = nearest(HARD[kind], HARD[kind], 1, metric)
    assert (distances == 0).all()
    if metric == "l2":
        assert np.array_equal(HARD[kind][rows[:, 0]], HARD[kind])


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {kind: nearest(values, values, 5, exclude_self=True) for kind, values in HARD.items()}
    monkeypatch.setattr(search, "SCORES", 1000)
    monkeypatch.setattr(search, "QUERIES", 7)
    monkeypatch.setattr(search, "COLUMNS", 11)
    monkeypatch.setattr(space, "BLOCK", 100)
    for kind, values in HARD.items():
        for before, after in zip(whole[kind], nearest(values, values, 5, exclude_self=True), strict=True):
            assert np.array_equal(before, after), kind


def test_the_bound_holds_for_every_score_in_both_precisions() -> None:
    for kind in (np.float32, np.float64):
        for values in HARD.values():
            (points,) = space.points_of("l2", features=values)
            exact = np.array([[np.square(points.at(slice(i, i + 1)) - points.at(slice(j, j + 1))).sum()
                               for j in range(0, 120, 7)] for i in range(0, 120, 5)])  # fmt: skip
            rows, far = points.around(points.centre(), kind)
            scores = (-2 * rows[::5]) @ rows[::7].T + far[::7].astype(kind) + far[::5, None]
            slack = space.doubt(kind, values.shape[1], np.sqrt(far[::5, None]), np.sqrt(far[::7]))
            assert (np.abs(scores - exact) <= slack).all()


def test_tensors_of_any_precision_are_features_too() -> None:
    values = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))
    for kind in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
        tensor = values.to(kind).requires_grad_()
        expected, order = twin(tensor.detach().double().numpy(), tensor.detach().double().numpy(), 3, "l2")
        distances, rows = nearest(tensor, tensor, 3)
        assert np.array_equal(rows, order)
        assert np.array_equal(distances, expected)


GOOD = random(12, 4)
NAN = np.where(np.arange(48).reshape(12, 4) == 13, np.nan, GOOD)
ZERO = np.where(np.arange(12)[:, None] == 5, 0, GOOD)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: nearest(GOOD, GOOD, 12), r"k is 12, and there are 12 features. Expected k from 1 to 11"),
        (lambda: nearest(GOOD, GOOD, 0), "k is 0"),
        (lambda: nearest(GOOD, GOOD, 2.5), "whole number"),  # type: ignore[arg-type]
        (lambda: nearest(GOOD, GOOD[:1], 1), "one feature vector only"),
        (lambda: nearest(GOOD[:0], GOOD, 1), r"queries are empty: their shape is \(0, 4\)"),
        (lambda: nearest(GOOD, [], 1), "features are empty"),
        (lambda: nearest(GOOD[0], GOOD, 1), "queries are no table"),
        (lambda: nearest([["a"]], GOOD, 1), "no table of numbers"),
        (lambda: nearest([[1.0], [1.0, 2.0]], GOOD, 1), "no table of numbers"),
        (lambda: nearest(GOOD[:, :3], GOOD, 1), "queries have 3, the features have 4. .* different networks or layers"),
        (lambda: nearest(GOOD, NAN, 1), "Row 3 of the features holds a number that is not finite"),
        (lambda: nearest(GOOD, ZERO, 1, "cosine"), "Row 5 of the features is all zeros"),
        (lambda: nearest(GOOD, GOOD, 1, "l1"), "no metric named 'l1'"),
        (lambda: nearest(GOOD + 1, GOOD, 1, exclude_self=True), "needs the features themselves"),
        (lambda: retrieval(GOOD, range(11)), "11 labels for 12 features"),
        (lambda: retrieval(GOOD, range(12)), "No two pictures share a class"),
        (lambda: retrieval(GOOD, [0] * 12, ks=(1, 12)), "k is 12"),
        (lambda: retrieval(NAN, [0] * 12), "not finite"),
        (lambda: retrieval(GOOD, np.zeros((12, 2))), "labels are a table"),
        (lambda: disagreeing(GOOD, np.zeros((13,)), 3), "13 labels for 12 features"),
        (lambda: disagreeing(GOOD, [0] * 12, 12), "k is 12"),
        (lambda: duplicates(ZERO, 0.9), "all zeros"),
        (lambda: duplicates(GOOD, 1.5), "threshold is 1.5"),
        (lambda: duplicates(GOOD, math.nan), "threshold is nan"),
        (lambda: project(NAN), "not finite"),
        (lambda: project(GOOD[:0]), "empty"),
        (lambda: project(GOOD, "umap"), "no projection named 'umap'"),
        (lambda: pca(GOOD, 0), "width is 0"),
    ],
)  # fmt: skip
def test_wrong_input_ends_in_one_clear_message(call: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        call()


def scores_of(far: Floats, labels: list[str], ks: tuple[int, ...]) -> dict[str, float]:
    """Retrieval from the definition, a picture at a time."""
    sums: dict[str, list[float]] = {}
    for i, label in enumerate(labels):
        order = sorted((j for j in range(len(labels)) if j != i), key=lambda j: (far[i, j], j))
        hits = [labels[j] == label for j in order]
        if not any(hits):
            continue
        for k in ks:
            sums.setdefault(f"recall@{k}", []).append(float(any(hits[:k])))
        for k in ks:
            sums.setdefault(f"precision@{k}", []).append(sum(hits[:k]) / k)
        at_hits = [sum(hits[: t + 1]) / (t + 1) for t, hit in enumerate(hits) if hit]
        sums.setdefault("map", []).append(sum(at_hits) / len(at_hits))
    return {name: sum(values) / len(values) for name, values in sums.items()}


@pytest.mark.parametrize("kind", sorted(set(HARD) - {"huge", "tiny"}))
def test_retrieval_agrees_with_its_slow_twin(kind: str) -> None:
    labels = [*np.random.default_rng(3).choice(["a", "b", "b", "c"], 119).tolist(), "alone"]
    found = retrieval(HARD[kind], labels, ks=(1, 3, 50))
    assert (found.pictures, found.alone, found.metric) == (119, 1, "l2")
    assert found.scores == pytest.approx(scores_of(distances_of(HARD[kind], HARD[kind], "l2"), labels, (1, 3, 50)))
    assert "map" in str(found)


def test_retrieval_by_cosine_agrees_too() -> None:
    values, labels = random(60, 8) + 0.5, np.random.default_rng(3).integers(0, 4, 60)
    expected = scores_of(distances_of(values, values, "cosine"), labels.tolist(), (1, 5, 10))
    assert retrieval(values, torch.from_numpy(labels), metric="cosine").scores == pytest.approx(expected)


def test_the_floor_of_retrieval_is_the_mean_over_all_orders() -> None:
    labels, others = list("aaabbc"), range(5)
    every = []
    for order in permutations(others):  # the same order of the others for each picture; each is as likely
        far = np.full((6, 6), np.inf)
        for i in range(6):
            for rank, j in zip(order, [j for j in range(6) if j != i], strict=True):
                far[i, j] = rank
        every.append(scores_of(far, labels, (1, 2, 4)))
    expected = {name: sum(scores[name] for scores in every) / len(every) for name in every[0]}
    assert retrieval(random(6, 3), labels, ks=(1, 2, 4)).floor == pytest.approx(expected)


def test_near_duplicates_are_found_as_groups_the_most_similar_first() -> None:
    values = random(200, 24)
    values[50] = values[3] * 7  # the same direction
    values[60] = values[9] + 0.01 * values[10]
    values[61] = values[60] + 0.01 * values[11]
    found = duplicates(values, 0.99)
    assert [group.rows for group in found] == [(3, 50), (9, 60, 61)]
    assert found[0].similarity == pytest.approx(1)
    cosine = 1 - distances_of(values[[9, 60, 61]], values[[9, 60, 61]], "cosine")
    assert found[1].similarity == pytest.approx(max(cosine[a, b] for a, b in combinations(range(3), 2)))
    assert [group.rows for group in duplicates(values, 1)] == [(3, 50)]
    assert duplicates(values[:1], 0.5) == []


@pytest.mark.parametrize("threshold", [-0.5, 0.1, 0.4, 0.6, 0.9])
def test_groups_are_the_connected_components_of_all_similar_pairs(threshold: float) -> None:
    values = random(80, 4)
    cosine = 1 - distances_of(values, values, "cosine")
    groups = [{i} for i in range(80)]
    for i, j in combinations(range(80), 2):
        if cosine[i, j] >= threshold:
            one, other = (next(group for group in groups if member in group) for member in (i, j))
            if one is not other:
                groups.remove(other)
                one |= other
    expected = sorted(tuple(sorted(group)) for group in groups if len(group) > 1)
    assert sorted(group.rows for group in duplicates(values, threshold)) == expected


def test_a_thousand_equal_pictures_are_one_group_at_once() -> None:
    (group,) = duplicates(np.ones((1000, 64), np.float32), 1)
    assert group.rows == tuple(range(1000))


def test_wrong_labels_are_found_and_the_right_ones_suggested() -> None:
    values = np.repeat(random(3, 8) * 9, 20, 0) + 0.1 * random(60, 8, 5)
    labels = ["cat"] * 20 + ["dog"] * 20 + ["owl"] * 20
    labels[7], labels[25] = "owl", "cat"
    found = disagreeing(values, labels, k=6)
    assert [(it.row, it.label, it.suggestion, it.suggested, it.others) for it in found] == [
        (7, "owl", "cat", 6, 6),
        (25, "cat", "dog", 6, 6),
    ]
    assert [it.peers for it in found] == [20, 19]


def test_disagreeing_counts_as_its_definition_says() -> None:
    values, labels = random(70, 3) + 0.2, np.random.default_rng(4).integers(0, 3, 70).tolist()
    _, order = twin(values, values, 5, "cosine", exclude=True)
    others = {i: sum(labels[j] != labels[i] for j in near) for i, near in enumerate(order.tolist())}
    expected = sorted((i for i in others if others[i] > 2.5), key=lambda i: (-others[i], i))
    assert [it.row for it in disagreeing(values, labels, 5)] == expected


def test_principal_components_are_those_of_the_covariance_and_their_signs_are_fixed() -> None:
    for n, d in ((50, 7), (5, 30)):
        values = random(n, d) * np.linspace(3, 1, d) + 1000
        found = pca(values, 3)
        lengths, vectors = np.linalg.eigh(np.cov(values.T))
        assert found.explained == pytest.approx((lengths / lengths.sum())[::-1][:3])
        for direction, vector in zip(found.directions, vectors.T[::-1], strict=False):
            assert abs(direction @ vector) == pytest.approx(1)
            assert direction[np.abs(direction).argmax()] > 0
        assert np.allclose(found.points, (values - found.mean) @ found.directions.T)
        assert np.array_equal(project(values), found.points[:, :2])
        assert np.allclose(pca(values[::-1], 3).points[::-1], found.points)


def test_what_has_fewer_than_two_dimensions_has_a_map_too() -> None:
    assert np.array_equal(project([[1.0], [2.0], [6.0]]), [[-2, 0], [-1, 0], [3, 0]])
    for how in ("pca", "tsne"):
        assert np.array_equal(project(np.ones((9, 3)), how), np.zeros((9, 2)))
        assert np.array_equal(project([[3.0, 4.0]], how), [[0, 0]])
    assert pca(np.ones((9, 3))).explained == (0, 0)


def test_tsne_keeps_clusters_apart_and_repeats_itself() -> None:
    values = np.repeat(random(3, 60) * 9, 20, 0) + random(60, 60, 5)
    labels = np.repeat(range(3), 20)
    placed = project(values, "tsne", seed=1)
    assert np.array_equal(placed, project(values, "tsne", seed=1))
    assert not np.array_equal(placed, project(values, "tsne", seed=2))
    assert retrieval(placed, labels, ks=(1,)).scores["recall@1"] == 1
    for n in (2, 4, 5):
        assert np.isfinite(project(values[:n], "tsne")).all()


ODD = ["</script><b>x</b>", "a & 'b' \"c\"", "{{ 7 * 7 }}", "new\nline\udcff"]


def gallery(n: int, labels: list[str | None] | None = None) -> Gallery:
    """Pictures of one colour each, of different sizes, grey in turn, with odd names."""
    pixels = [np.full((9 + i % 7, 12, 3) if i % 2 else (8, 8), 10 + i % 200, np.uint8) for i in range(n)]
    return Gallery(pixels, labels or [f"class {i % 3}" for i in range(n)], [f"{ODD[i % 4]} {i}" for i in range(n)])


class Reader(HTMLParser):
    """Tags, addresses and text of a page; scripts apart."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def offline(page: str) -> Reader:
    """The page reads nothing from elsewhere, and its tags are its own."""
    reader = Reader(page)
    addresses = [value for name, value in reader.attributes if name in ("src", "href", "srcset", "data")]
    addresses += re.findall(r"url\(([^)]*)\)", page)
    assert all(address.startswith("data:image/jpeg;base64,") for address in addresses)
    assert "http" not in re.sub(r"base64,[\w+/=]+", "", page)
    assert "prefers-color-scheme: dark" in page
    assert "width=device-width" in page
    assert "<b>x</b>" not in page
    page.encode()
    return reader


def test_the_page_of_neighbours_is_whole_offline_and_escapes_names() -> None:
    values, shown = random(12, 4), gallery(12, ["cat", "dog", None] * 4)
    distances, rows = nearest(values, values, 3, exclude_self=True)
    scores = retrieval(values, [label or "none" for label in shown.labels], ks=(1,))
    page = neighbours_page("<i>&", shown, shown, distances, rows, scores=scores)
    reader = offline(page)
    assert "<i>&" in reader.text
    assert "</script><b>x</b> 0" in reader.text
    assert "{{ 7 * 7 }} 2" in reader.text
    assert "new\\nline\\udcff 3" in reader.text
    known = [(shown.labels[i], shown.labels[j]) for i in range(12) for j in rows[i]]
    same = sum(a == b for a, b in known if a and b)
    other = sum(a != b for a, b in known if a and b)
    assert reader.text.count("✓") - 1 == same  # one is in the explanation
    assert reader.text.count("✗") - 1 == other
    marks = [value for name, value in reader.attributes if name == "aria-label"]
    assert marks.count("the query's class") == same
    assert marks.count("another class") == other
    assert f"{100 * same / (same + other):.1f} %" in reader.text
    assert "floor 50.0 %" in reader.text  # of two classes as frequent as each other
    assert f"{100 * scores.scores['map']:.1f} %" in reader.text
    for distance in distances.ravel():
        assert f"{distance:.3f}" in reader.text


def test_the_page_of_neighbours_shows_the_first_of_many_queries_and_says_so() -> None:
    shown = gallery(300)
    page = neighbours_page("many", shown, shown, np.zeros((300, 1)), np.zeros((300, 1), np.int64))
    assert "Here are the first 200 queries." in page
    assert Reader(page).tags.count("section") == 200


def test_a_query_that_finds_itself_is_marked_and_is_neither_right_nor_in_the_floor() -> None:
    labels: list[str | None] = ["cat", "cat", "dog", "dog"]
    plain = gallery(4, labels)
    shown = Gallery(plain.thumbnails, labels, plain.names, ["a", "b", "c", "d"])
    asked = Gallery(plain.thumbnails[:1], ["cat"], ["q"], ["a"])
    page = neighbours_page("x", asked, shown, np.array([[0.0, 1, 2]]), np.array([[0, 1, 2]]))
    assert page.count("= the query") == 1
    assert "50.0 %" in page  # one of the two others
    assert "floor 33.3 %" in page  # one of the three others is a cat


def data_of(page: str) -> dict[str, Any]:
    """What the script of a map reads."""
    text = page.partition('<script type="application/json" id="data">')[2].partition("</script>")[0]
    return json.loads(text)  # type: ignore[no-any-return]


def test_the_map_is_whole_offline_and_escapes_names() -> None:
    points, shown = random(30, 2) * [4, 1] + 7, gallery(30, ["b", "</style>", None] * 10)
    page = map_page("<i>&", points, shown, "by </p> hand")
    reader = offline(page)
    assert "<i>&" in reader.text
    assert "by </p> hand" in reader.text
    assert reader.tags.count("script") == 2
    data = data_of(page)
    assert data["classes"] == ["</style>", "b", "class unknown"]
    assert [data["classes"][i] for i in data["label"]] == ["b", "</style>", "class unknown"] * 10
    assert data["names"][:4] == [shown.name(i) for i in range(4)]
    placed = np.array([data["x"], data["y"]]).T
    span = np.ptp(points, axis=0).max()
    assert np.allclose(np.diff(placed, axis=0) * span, np.diff(points, axis=0), atol=1e-3)
    assert np.abs(placed).max() == 0.5
    assert data["tile"] == list(range(30))


def test_beyond_two_thousand_pictures_the_others_are_points() -> None:
    page = map_page("many", random(2500, 2), gallery(2500))
    tiles = data_of(page)["tile"]
    assert sorted(tile for tile in tiles if tile >= 0) == list(range(2000))
    assert tiles.count(-1) == 500
    assert "2,000 of them with their picture" in page


def test_classes_stay_apart_by_colour_and_shape() -> None:
    from convista.reports.maps import _mark

    assert len({_mark(i) for i in range(36)}) == 36


def test_each_tile_of_a_sprite_is_its_picture() -> None:
    shown = gallery(40)
    sheet = sprite(shown.thumbnails, 64)
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(sheet.address.partition(",")[2]))).convert("RGB"))
    assert image.shape == (sheet.rows * 64, sheet.columns * 64, 3)
    for i in range(40):
        column, row = sheet.place(i)
        middle = image[row * 64 + 28 : row * 64 + 36, column * 64 + 28 : column * 64 + 36]
        assert np.abs(middle.astype(int) - (10 + i % 200)).max() <= 3


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: Gallery([np.zeros((4, 4))], ["a"], ["b"]), "Thumbnail 0 is float64"),
        (lambda: Gallery([np.zeros((4, 4, 4), np.uint8)], ["a"], ["b"]), r"shape \(4, 4, 4\)"),
        (lambda: Gallery([np.zeros((0, 4), np.uint8)], ["a"], ["b"]), "Thumbnail 0"),
        (lambda: Gallery([], ["a"], ["b"]), "0 thumbnails, 1 labels, 1 names"),
        (lambda: map_page("x", random(3, 2), gallery(4)), r"Expected \(4, 2\)"),
        (lambda: map_page("x", np.full((4, 2), np.nan), gallery(4)), "finite"),
        (lambda: map_page("x", np.zeros((0, 2)), gallery(0)), "one picture at least"),
        (lambda: neighbours_page("x", gallery(2), gallery(4), random(3, 1), np.zeros((3, 1), int)), "2 queries"),
        (lambda: neighbours_page("x", gallery(1), gallery(4), random(1, 1), np.array([[4]])), "there are 4 pictures"),
    ],
)
def test_pages_say_what_does_not_fit(call: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        call()


def test_one_picture_has_a_map() -> None:
    assert data_of(map_page("one", np.array([[3.0, 4.0]]), gallery(1)))["x"] == [0]
