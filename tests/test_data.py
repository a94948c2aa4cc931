"""From files to batches: every file is looked at, decoded once, and never in two splits."""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from hostile import encoded, kinds, make_hostile, rotated
from PIL import Image, ImageOps

from conftest import make_photos, picture
from convista.data import (
    Augmentation,
    BadPictureError,
    Decoded,
    Normalise,
    PixelCache,
    Prepared,
    channel_statistics,
    decode,
    flip_changes_class,
    global_batches,
    list_pictures,
    open_source,
    prepare,
    quiet_pillow,
    read_policy,
    some_of_each,
    stored_side,
)
from convista.data.batches import eval_view
from convista.data.chance import draws, offsets, permutation
from convista.data.geometry import crop
from convista.errors import DataError, InputError
from convista.records import View


def prepared(data: Path | str, side: int = 24, seed: int = 0, cache: PixelCache | None = None) -> Prepared:
    return prepare(open_source(data), side, 3, seed, cache)


@pytest.mark.parametrize("name", kinds(1))
def test_every_kind_of_file_is_used_or_refused_with_its_reason(name: str) -> None:
    data, reason = kinds(1)[name]
    with quiet_pillow():
        if reason is None:
            pixels = decode(data, 24, 3).pixels
            assert pixels.shape == (24, 24, 3)
            assert pixels.std() > 1
        else:
            with pytest.raises(BadPictureError) as error:
                decode(data, 24, 3)
            assert reason in str(error.value)


def test_modes_keep_their_colours() -> None:
    image = picture(0, 1, (32, 32))
    plain = decode(encoded(image, "png"), 32, 3).pixels.astype(int)
    assert np.array_equal(plain, np.asarray(image))
    grey = np.asarray(image.convert("L")).astype(int)
    for mode in ("RGBA", "CMYK"):
        kind = "tiff" if mode == "CMYK" else "png"
        assert np.abs(decode(encoded(image.convert(mode), kind), 32, 3).pixels - plain).max() <= 2
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    assert np.abs(decode(encoded(deep, "png"), 32, 1).pixels[..., 0] - grey).max() == 0
    hole = Image.new("RGBA", (32, 32), (255, 0, 0, 0))
    assert (decode(encoded(hole, "png"), 32, 3).pixels == 255).all()


def test_exif_turns_pictures_upright() -> None:
    image = picture(1, 5, (60, 40))
    image.paste((0, 0, 0), (0, 0, 60, 12))
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(rotated(image))))
    expected = np.asarray(ImageOps.fit(upright, (40, 40))).astype(int)
    found = decode(rotated(image), 40, 3)
    assert np.abs(found.pixels - expected).mean() < 2
    assert found.notes == ("turned upright by EXIF",)


def test_large_jpegs_are_decoded_small() -> None:
    image = picture(2, 3, (1600, 1200))
    draft = decode(encoded(image, "jpeg", quality=95), 100, 3).pixels.astype(float)
    whole = np.asarray(image.crop((200, 0, 1400, 1200)).resize((100, 100), Image.Resampling.BOX)).astype(float)
    assert np.abs(draft - whole).mean() < 3


def test_a_folder_of_hostile_files_is_sorted_out(tmp_path: Path) -> None:
    root = make_photos(tmp_path / "photos")
    refused = make_hostile(root)
    found = prepared(root)
    reasons = {file.path: file.reason for file in found.bad if "identical" not in file.reason}
    assert set(reasons) == set(refused)
    assert all(refused[path] in reason for path, reason in reasons.items())
    assert sum(len(part) for part in found.splits.values()) + len(found.bad) == 3 * (12 + 3 * 27 + 2) + 1
    assert found.notes["turned upright by EXIF"] == 9
    assert found.notes["GIF animation: first frame used"] == 9


def test_splits_are_stratified_seeded_and_disjoint(photos: Path) -> None:
    found, again, other = prepared(photos), prepared(photos), prepared(photos, seed=1)
    names = {split: [p.path for p in part.pictures] for split, part in found.splits.items()}
    assert names == {split: [p.path for p in part.pictures] for split, part in again.splits.items()}
    assert names != {split: [p.path for p in part.pictures] for split, part in other.splits.items()}
    assert len({path for part in names.values() for path in part}) == 36
    assert {split: np.bincount(part.targets).tolist() for split, part in found.splits.items()} == {
        "train": [9] * 3, "val": [1] * 3, "test": [2] * 3,
    }  # fmt: skip


def test_a_limit_takes_the_same_pictures_of_each_class_for_every_seed(tmp_path: Path) -> None:
    make_photos(tmp_path / "data", each=40)
    found = [prepare(open_source(tmp_path / "data"), 16, 3, seed, None, limit=24) for seed in range(3)]
    assert len({part.fingerprint for part in found}) == 1
    for part in found:
        sizes = {split: np.bincount(some.targets).tolist() for split, some in part.splits.items()}
        assert sizes == {"train": [8] * 3, "val": [4] * 3, "test": [6] * 3}
        assert len({p.digest for some in part.splits.values() for p in some.pictures}) == 54


def test_a_limit_holds_for_splits_that_the_data_names_and_small_classes_leave_their_part_to_others(
    tmp_path: Path,
) -> None:
    for split, each in (("train", 30), ("val", 12), ("test", 20)):
        for hue, label in enumerate(("a", "b")):
            (tmp_path / "data" / split / label).mkdir(parents=True)
            for i in range(each if label == "a" or split != "train" else 5):
                picture(hue, 100 * i + 10 * hue + len(split)).save(tmp_path / "data" / split / label / f"{i}.png")
    found = prepare(open_source(tmp_path / "data"), 16, 3, 0, None, limit=18)
    sizes = {split: np.bincount(some.targets).tolist() for split, some in found.splits.items()}
    assert sizes == {"train": [13, 5], "val": [4, 5], "test": [9, 9]}


def test_a_limit_below_one_picture_a_class_is_refused(photos: Path) -> None:
    with pytest.raises(InputError, match="limit=2 was given; with 3 classes it must be at least 3"):
        prepare(open_source(photos), 16, 3, 0, None, limit=2)


def test_a_new_picture_moves_few_others(photos: Path) -> None:
    before = {p.path: p.split for part in prepared(photos).splits.values() for p in part.pictures}
    picture(0, 999).save(photos / "red" / "zzz.png")
    after = {p.path: p.split for part in prepared(photos).splits.values() for p in part.pictures}
    assert sum(before[path] != after[path] for path in before) <= 2


def test_copies_never_lie_in_two_splits(photos: Path) -> None:
    for i in range(4):
        shutil.copy(photos / "red" / "001.png", photos / "red" / f"copy{i}.png")
    places = {
        split for split, part in prepared(photos).splits.items() for p in part.pictures
        if "copy" in p.path or p.path == "red/001.png"
    }  # fmt: skip
    assert len(places) == 1


def test_copies_across_given_splits_stay_in_test_only(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        make_photos(tmp_path / "data" / split, ("a", "b"), each=4)
    for part in ("val", "test"):  # all splits were made alike; make them differ but for one picture
        for i, path in enumerate(sorted((tmp_path / "data" / part).rglob("*.*"))):
            if path.name != "001.png":
                picture(i, 5000 + 10 * i + len(part)).save(path)
    found = prepared(tmp_path / "data")
    assert [file.path for file in found.bad] == [f"{s}/{c}/001.png" for s in ("train", "val") for c in "ab"]
    assert "in another split" in found.bad[0].reason
    assert [len(found.splits[split]) for split in ("train", "val", "test")] == [6, 6, 8]


def test_the_same_bytes_under_two_labels_are_left_out(photos: Path) -> None:
    shutil.copy(photos / "red" / "001.png", photos / "blue" / "odd.png")
    bad = {file.path: file.reason for file in prepared(photos).bad}
    assert set(bad) == {"red/001.png", "blue/odd.png"}
    assert "another label" in bad["blue/odd.png"]


def test_given_splits_are_kept_and_missing_ones_taken_from_train(tmp_path: Path) -> None:
    make_photos(tmp_path / "data" / "Train", ("a", "b"), each=20)
    make_photos(tmp_path / "data" / "valid", ("a", "b"), each=3)
    for i, path in enumerate((tmp_path / "data" / "valid").rglob("*.*")):
        picture(i, 7000 + i).save(path)
    found = prepared(tmp_path / "data")
    assert {split: len(part) for split, part in found.splits.items()} == {"train": 34, "val": 6, "test": 6}
    assert all(p.path.startswith("Train/") for p in found.splits["test"].pictures)


def test_a_zip_reads_like_its_folder(photos: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in sorted(photos.rglob("*.*")):
            archive.write(path, f"wrapper/{path.relative_to(photos)}")
        archive.writestr("__MACOSX/wrapper/red/._000.jpg", b"litter")
    assert prepared(tmp_path / "photos.zip").fingerprint == prepared(photos).fingerprint


def test_a_damaged_member_of_a_zip_is_listed(photos: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        for path in sorted(photos.rglob("*.*")):
            archive.write(path, str(path.relative_to(photos)))
    data = bytearray((tmp_path / "p.zip").read_bytes())
    start = data.find((photos / "red" / "001.png").read_bytes()[:60])
    data[start + 100] ^= 255
    (tmp_path / "p.zip").write_bytes(data)
    bad = prepared(tmp_path / "p.zip").bad
    assert [file.path for file in bad] == ["red/001.png"]
    assert "damaged in the archive" in bad[0].reason


def test_links_in_circles_end(photos: Path) -> None:
    (photos / "red" / "loop").symlink_to(photos)
    assert len(list_pictures(open_source(photos))[0]) == 36


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: shutil.rmtree(root / "green") or shutil.rmtree(root / "blue"), "one class only"),
        (lambda root: [p.unlink() for p in root.rglob("*.*")], "no files"),
        (
            lambda root: [p.unlink() for p in sorted((root / "red").iterdir())[1:]],
            "'red' has 1. Add",
        ),
        (lambda root: [p.write_bytes(b"x") for p in (root / "red").iterdir()], "'red' has no usable picture"),
        (lambda root: [p.rename(root / f"{p.parent.name}{p.name}") for p in root.rglob("*.*")], "no class folders"),
    ],
)
def test_data_that_cannot_be_trained_on_is_explained(photos: Path, spoil, message: str) -> None:
    spoil(photos)
    with pytest.raises(DataError, match=message):
        prepared(photos)


def test_what_is_not_there_is_explained(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    for path, message in ((tmp_path / "none", "does not exist"), (tmp_path / "a.txt", "not a zip archive")):
        with pytest.raises(DataError, match=message):
            open_source(path)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    assert prepared(make_photos(tmp_path / "d", ("car", "train"))).labels == ("car", "train")


def test_a_readme_beside_the_classes_changes_nothing(photos: Path, tmp_path: Path) -> None:
    (photos / "README.txt").write_text("hello")
    found = prepared(tmp_path)
    assert found.labels == ("blue", "green", "red")
    assert [file.reason for file in found.bad] == ["outside any class folder"]


def test_run_folders_inside_the_data_are_no_classes(photos: Path) -> None:
    (photos / "runs" / "x").mkdir(parents=True)
    for name in ("run.json", "spec.json", "model.safetensors"):
        (photos / "runs" / "x" / name).write_text("{}")
    assert prepared(photos).labels == ("blue", "green", "red")


def test_names_need_not_be_text(photos: Path) -> None:
    picture(0, 4).save(photos / "red" / "new.png")
    (photos / "red" / "new.png").rename(photos / "red" / os.fsdecode(b"caf\xe9.png"))
    assert sum(len(part) for part in prepared(photos).splits.values()) == 37


def test_animations_cut_anywhere_are_refused_or_used() -> None:
    data = kinds(1)["moving.gif"][0]
    with quiet_pillow():
        for length in range(1, len(data), 7):
            with suppress(BadPictureError):
                assert decode(data[:length], 24, 3).pixels.shape == (24, 24, 3)


def test_a_picture_that_changes_or_vanishes_later_is_told(photos: Path) -> None:
    train = prepared(photos).splits["train"]
    first, second = (photos / train.pictures[i].path for i in (0, 1))
    first.unlink()
    shutil.copy(photos / train.pictures[2].path, second)
    with pytest.raises(DataError, match="was there when the run began"):
        train[0]
    with pytest.raises(DataError, match="has changed since the run began"):
        train[1]


def test_a_class_in_test_but_not_in_train_is_refused(tmp_path: Path) -> None:
    make_photos(tmp_path / "d" / "train", ("a", "b"))
    make_photos(tmp_path / "d" / "test", ("a", "c"))
    with pytest.raises(DataError, match="Class 'c' is in 'test' but not in 'train'"):
        prepared(tmp_path / "d")


def test_the_cache_gives_back_the_same_pixels(photos: Path, tmp_path: Path) -> None:
    cache = PixelCache(tmp_path / "cache", 24, 3)
    fresh, cached = prepared(photos), prepared(photos, cache=cache)
    assert (cached.splits["train"].rows >= 0).all()
    for i in range(len(fresh.splits["train"])):
        assert np.array_equal(fresh.splits["train"][i], cached.splits["train"][i])
    assert cached.fingerprint == fresh.fingerprint
    assert cached.notes == fresh.notes == prepared(photos, cache=PixelCache(tmp_path / "cache", 24, 3)).notes


def test_the_cache_follows_content_not_names(photos: Path, tmp_path: Path) -> None:
    cache = PixelCache(tmp_path / "cache", 24, 3)
    prepared(photos, cache=cache)
    assert len(cache.file.entries) == 36
    (photos / "red" / "001.png").rename(photos / "red" / "new name.png")
    prepared(photos, cache=cache)
    assert len(cache.file.entries) == 36
    picture(2, 4242).save(photos / "red" / "000.jpg")
    prepared(photos, cache=cache)
    assert len(cache.file.entries) == 37


def test_some_of_each_class_are_equally_many_where_there_are_so_many() -> None:
    targets = np.array([0] * 50 + [1] * 2 + [2] * 30)
    found = some_of_each(targets, 20, 0)
    assert (np.diff(found) > 0).all()
    assert np.bincount(targets[found]).tolist() == [9, 2, 9]
    assert found.tolist() != some_of_each(targets, 20, 1).tolist()
    assert some_of_each(targets, 500, 0).tolist() == list(range(82))


def test_the_cache_keeps_its_bound_and_the_rest_is_decoded(photos: Path, tmp_path: Path) -> None:
    row = 24 * 24 * 3
    cache = PixelCache(tmp_path / "cache", 24, 3, limit=10 * row)
    found = prepared(photos, cache=cache)
    assert len(cache.file.entries) == 10
    assert (tmp_path / "cache" / "24x24x3-v2" / "rows.bin").stat().st_size == 10 * row
    fresh = prepared(photos)
    everything = np.arange(len(found.splits["train"]))
    for a, b in zip(found.splits["train"].many(everything), fresh.splits["train"].many(everything), strict=True):
        assert np.array_equal(a, b)
    weights = tmp_path / "cache" / "weights" / "deep"
    weights.mkdir(parents=True)
    smaller = PixelCache(tmp_path / "cache", 16, 3, limit=10 * row)
    prepared(photos, side=16, cache=smaller)
    assert not (tmp_path / "cache" / "24x24x3-v2").exists()
    assert weights.exists()  # of another kind


def test_a_cache_cut_off_in_a_write_goes_on(tmp_path: Path) -> None:
    def some(first: int, last: int) -> list[tuple[str, Decoded]]:
        return [(f"{i}", Decoded(np.full((4, 4, 3), i, np.uint8))) for i in range(first, last)]

    PixelCache(tmp_path, 4, 3).add(some(0, 3))
    folder = tmp_path / "4x4x3-v2"
    with (folder / "rows.bin").open("ab") as file:
        file.write(b"half a row")
    with (folder / "index.jsonl").open("ab") as file:
        file.write(b'["3", "cut of')
    again = PixelCache(tmp_path, 4, 3)
    assert list(again.file.entries) == ["0", "1", "2"]
    again.add(some(3, 5))
    assert [int(row[0, 0, 0]) for row in PixelCache(tmp_path, 4, 3).view([])[1]] == [0, 1, 2, 3, 4]


def test_a_cache_whose_files_do_not_fit_together_starts_afresh(tmp_path: Path) -> None:
    one = [("a", Decoded(np.full((4, 4, 3), 7, np.uint8)))]
    for spoil in (
        lambda folder: (folder / "rows.bin").unlink(),
        lambda folder: (folder / "rows.bin").write_bytes(b"short"),
        lambda folder: (folder / "index.jsonl").write_bytes(b"no json\n"),
    ):
        PixelCache(tmp_path, 4, 3).add(one)
        spoil(tmp_path / "4x4x3-v2")
        again = PixelCache(tmp_path, 4, 3)
        assert again.file.entries == {}
        again.add(one)
        rows, pixels = again.view(["a", "b"])
        assert rows.tolist() == [0, -1]
        assert (pixels[0] == 7).all()


def test_a_cache_taken_away_under_a_running_job_tells_no_lies(tmp_path: Path) -> None:
    running = PixelCache(tmp_path, 4, 3)
    running.add([("a", Decoded(np.full((4, 4, 3), 1, np.uint8)))])
    _, held = running.view(["a"])
    shutil.rmtree(tmp_path / "4x4x3-v2")
    PixelCache(tmp_path, 4, 3).add([("b", Decoded(np.full((4, 4, 3), 2, np.uint8)))])
    running.add([("c", Decoded(np.full((4, 4, 3), 3, np.uint8)))])
    rows, pixels = running.view(["a", "b", "c"])
    assert rows.tolist() == [-1, 0, 1]
    assert [int(row[0, 0, 0]) for row in pixels] == [2, 3]
    assert (held == 1).all()


def _fill(folder: Path, start: int) -> None:
    cache = PixelCache(folder, 4, 3)
    for i in range(start, start + 40):
        cache.add([(f"{i}", Decoded(np.full((4, 4, 3), i, np.uint8)))])


def test_two_writers_share_a_cache(tmp_path: Path) -> None:
    context = get_context("spawn")
    writers = [context.Process(target=_fill, args=(tmp_path, start)) for start in (0, 20)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    cache = PixelCache(tmp_path, 4, 3)
    assert len(cache.file.entries) == 60
    assert all(int(cache.view([])[1][row, 0, 0, 0]) == int(digest) for digest, (row, _) in cache.file.entries.items())


def test_draws_are_a_pure_function_of_seed_epoch_and_index() -> None:
    together = draws(3, 5, np.arange(1000), 3)
    alone = np.concatenate([draws(3, 5, np.array([i]), 3) for i in range(1000)])
    assert np.array_equal(together, alone)
    assert not np.array_equal(together, draws(3, 6, np.arange(1000), 3))
    assert not np.array_equal(together, draws(4, 5, np.arange(1000), 3))
    many = draws(0, 0, np.arange(100_000), 2)
    assert abs(many.mean() - 0.5) < 0.005
    assert np.abs(np.corrcoef(many.T)[0, 1]) < 0.02
    counts = np.bincount(offsets(many[:, 0], 8), minlength=9)
    assert counts.min() > 0.95 * 100_000 / 9


def test_splitmix_is_the_published_one() -> None:
    """The first numbers of SplitMix64 from seed 1234567, as the reference implementation prints them."""
    from convista.data.chance import GOLDEN, _mix

    state = np.uint64(1234567) + GOLDEN * np.arange(3, dtype=np.uint64)
    assert _mix(state).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_an_epoch_shows_every_picture_once() -> None:
    batches = global_batches(103, 16, seed=1, epoch=2)
    assert sorted(np.concatenate(batches)) == list(range(103))
    assert {len(batch) for batch in batches} <= {14, 15}
    assert not np.array_equal(permutation(1, 2, 103), permutation(1, 3, 103))


def test_a_crop_beyond_the_edge_is_mirrored() -> None:
    image = np.random.default_rng(0).integers(0, 255, (9, 9, 3), dtype=np.uint8)
    padded = np.pad(image, ((3, 3), (3, 3), (0, 0)), "reflect")
    for top, left in ((-3, 2), (0, 0), (3, -1)):
        assert np.array_equal(crop(image, top, left, 9), padded[top + 3 : top + 12, left + 3 : left + 12])


def test_training_views_are_crops_and_flips_of_the_picture(photos: Path) -> None:
    found = prepared(photos, side=24).splits["train"]
    view, indices = View(21, 24), np.arange(len(found))
    augment = Augmentation(read_policy("light"), view)
    batch, targets = augment(found, indices, 0).pictures, found.targets
    assert batch.shape == (len(found), 3, 21, 21)
    assert batch.dtype == torch.uint8
    assert targets.tolist() == found.targets.tolist()
    flipped = 0
    for i in indices:
        windows = {
            found[int(i)][t : t + 21, w : w + 21].transpose(2, 0, 1).tobytes(): (t, w)
            for t in range(4) for w in range(4)
        }  # fmt: skip
        straight = batch[i].numpy().tobytes() in windows
        mirrored = batch[i].flip(2).contiguous().numpy().tobytes() in windows
        assert straight != mirrored
        flipped += mirrored
    assert 5 < flipped < 22
    again = augment(found, indices[::-1].copy(), 0).pictures.flip(0)
    assert torch.equal(again, batch)


def test_views_without_crop_and_flip_are_the_centre(photos: Path) -> None:
    found = prepared(photos, side=24).splits["val"]
    view, indices = View(20, 24), np.arange(len(found))
    plain = Augmentation(read_policy("none"), view)(found, indices, 0)
    assert torch.equal(plain.pictures, eval_view(found, indices, view)[0])


def test_normalised_pictures_have_mean_zero_and_deviation_one(photos: Path) -> None:
    found = prepared(photos, side=24).splits["train"]
    mean, std = channel_statistics(found)
    everything = torch.from_numpy(np.stack([found[i] for i in range(len(found))])).permute(0, 3, 1, 2)
    floats = Normalise.of(View(24, 24, mean=mean, std=std), torch.device("cpu"))(everything)
    assert floats.mean((0, 2, 3)).abs().max() < 1e-3
    assert (floats.std((0, 2, 3)) - 1).abs().max() < 1e-2
    assert floats.is_contiguous(memory_format=torch.channels_last)


def test_photographs_are_stored_with_a_margin_and_small_pictures_are_not(photos: Path) -> None:
    assert stored_side(open_source(photos), 32) == 32
    assert stored_side(open_source(photos), 28) == 32


def test_flips_are_off_where_they_would_change_the_class() -> None:
    assert flip_changes_class(["a", "b"])
    assert flip_changes_class(["left_hand", "right_hand"])
    assert not flip_changes_class(["copyright", "leftovers"])
