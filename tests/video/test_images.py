"""Folders of images: natural order, every pixel format as RGB, and broken files named."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as PillowImage
from tests.video.clips import flat

from svit.errors import SourceError
from svit.video import open_source


def save(path, array, **options):
    PillowImage.fromarray(array).save(path, **options)
    return path


def only_image(path):
    with open_source(path) as source:
        (frame,) = source
    assert frame.image.dtype == np.uint8
    assert frame.image.ndim == 3
    return frame.image


def test_images_come_in_natural_order_and_other_files_are_left_out(tmp_path):
    for number in (1, 2, 10, 11, 100):
        save(tmp_path / f"frame{number}.png", flat(number))
    save(tmp_path / ".hidden.png", flat(0))
    (tmp_path / "notes.txt").write_text("not an image")
    with open_source(tmp_path) as source:
        assert source.frames == 5
        assert (source.width, source.height) == (96, 64)
        assert not source.live
        frames = list(source)
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [1, 2, 10, 11, 100]
    assert [frame.index for frame in frames] == list(range(5))
    assert [frame.timestamp for frame in frames] == pytest.approx([n / 25 for n in range(5)])


def test_a_motchallenge_sequence_has_its_own_rate(tmp_path):
    (tmp_path / "img1").mkdir()
    save(tmp_path / "img1" / "000001.jpg", flat(50))
    (tmp_path / "seqinfo.ini").write_text("[Sequence]\nname=X\nframeRate=14\n")
    with open_source(tmp_path / "img1") as source:
        assert source.rate == 14


@pytest.mark.parametrize("text", ["frameRate=14", "[Sequence]\nframeRate=often", "[Sequence]\nframeRate=0"])
def test_a_senseless_sequence_file_does_not_matter(tmp_path, text):
    (tmp_path / "img1").mkdir()
    save(tmp_path / "img1" / "1.png", flat(50))
    (tmp_path / "seqinfo.ini").write_text(text)
    with open_source(tmp_path / "img1") as source:
        assert source.rate == 25


@pytest.mark.parametrize("suffix", ["jpg", "JPEG", "png", "bmp", "tif", "tiff", "webp"])
def test_every_usual_format_opens(tmp_path, suffix):
    path = save(tmp_path / f"a.{suffix}", flat(120))
    assert np.abs(only_image(path).astype(int) - 120).max() <= 2


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (np.full((4, 6), 90, np.uint8), 90),
        (np.full((4, 6, 4), (90, 90, 90, 10), np.uint8), 90),
        (np.full((4, 6, 2), (90, 10), np.uint8), 90),
        (np.full((4, 6), 90 * 257, np.uint16), 90),
        (np.full((4, 6), True), 255),
    ],
    ids=["grey", "rgba", "grey with alpha", "16 bit", "1 bit"],
)
def test_every_pixel_format_becomes_rgb(tmp_path, pixels, expected):
    image = only_image(save(tmp_path / "a.png", pixels))
    assert image.shape == (4, 6, 3)
    assert (image == expected).all()


def test_a_palette_becomes_rgb(tmp_path):
    colours = np.zeros((4, 6, 3), np.uint8)
    colours[:, :3], colours[:, 3:] = (250, 0, 0), (0, 0, 250)
    PillowImage.fromarray(colours).quantize(4).save(tmp_path / "a.png")
    assert (only_image(tmp_path / "a.png") == colours).all()


@pytest.mark.parametrize(("value", "expected"), [(0.5, 128), (200.0, 200), (float("nan"), 0)])
def test_floating_point_tiff_becomes_rgb(tmp_path, value, expected):
    path = save(tmp_path / "a.tif", np.full((4, 6), value, np.float32))
    assert (only_image(path) == expected).all()


def test_sixteen_bits_are_scaled_alike_in_every_image(tmp_path):
    save(tmp_path / "1.png", np.full((4, 6), 1000, np.uint16))
    save(tmp_path / "2.png", np.full((4, 6), 60000, np.uint16))
    with open_source(tmp_path) as source:
        assert [int(frame.image.max()) for frame in source] == [round(1000 / 257), round(60000 / 257)]


def test_exif_orientation_is_honoured(tmp_path):
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, :20] = 255
    exif = PillowImage.Exif()
    exif[0x0112] = 6  # to be turned clockwise for display
    save(tmp_path / "a.png", image, exif=exif)
    shown = only_image(tmp_path / "a.png")
    assert (shown == np.rot90(image, -1)).all()


def test_a_broken_image_is_named_after_the_good_ones_before_it(tmp_path):
    for number in range(5):
        save(
            tmp_path / f"{number}.jpg", np.random.default_rng(number).integers(0, 255, (64, 64, 3), np.uint8)
        )
    broken = tmp_path / "3.jpg"
    broken.write_bytes(broken.read_bytes()[:900])
    seen = []
    with open_source(tmp_path) as source, pytest.raises(SourceError) as caught:
        seen.extend(frame.index for frame in source)
    assert seen == [0, 1, 2]
    assert str(broken) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_a_file_that_only_is_called_image_is_refused(tmp_path, content):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    for source in (path, tmp_path):
        with pytest.raises(SourceError, match=r"a\.png.*replace or remove"):
            open_source(source)


def test_a_folder_without_images_points_to_the_one_that_has_them(tmp_path):
    with pytest.raises(SourceError, match="no images"):
        open_source(tmp_path)
    (tmp_path / "img1").mkdir()
    save(tmp_path / "img1" / "1.png", flat(50))
    with pytest.raises(SourceError, match=f"did you mean {tmp_path / 'img1'}"):
        open_source(tmp_path)


def test_images_of_different_sizes_keep_them(tmp_path):
    save(tmp_path / "1.png", flat(50, (30, 20)))
    save(tmp_path / "2.png", flat(50, (50, 40)))
    with open_source(tmp_path) as source:
        assert [frame.image.shape for frame in source] == [(20, 30, 3), (40, 50, 3)]


def test_a_folder_knows_its_own_files(tmp_path):
    path = save(tmp_path / "1.png", flat(50))
    with open_source(tmp_path) as source:
        assert source.reads(path)
        assert not source.reads(tmp_path / "new.png")
    with open_source(path) as source:
        assert source.reads(path)
