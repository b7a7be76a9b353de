"""CrowdHuman: its annotations with pictures in folders or zips, and what is said about damaged ones."""

from __future__ import annotations

import json
import zipfile

import pytest
from tests.data.prepare.layouts import jpeg, person, tree, write_crowdhuman

from svit.data.bad_rows import BadRows
from svit.data.prepare.crowdhuman import prepare_crowdhuman
from svit.errors import DataError


def load(path):
    return json.loads(path.read_text())


@pytest.fixture
def root(tmp_path):
    return write_crowdhuman(tmp_path / "crowdhuman")


@pytest.fixture
def zipped(tmp_path):
    return write_crowdhuman(tmp_path / "zipped", zipped=True)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "new" / "annotations"


def append(root, line):
    with (root / "annotation_val.odgt").open("a") as file:
        file.write(line + "\n")


def test_full_boxes_with_ignored_ones_as_crowd(root, out):
    train, val = prepare_crowdhuman(root, out)
    assert train.counts == {"images": 3, "boxes": 3, "ignored boxes": 1}
    assert val.counts == {"images": 1, "boxes": 1, "ignored boxes": 0}
    written = load(out / "crowdhuman_train.json")
    assert set(written) == {"categories", "images", "annotations"}
    assert written["categories"] == [{"id": 1, "name": "pedestrian"}]
    assert written["images"] == [
        {"id": 1, "file_name": "Images/1,a.jpg", "height": 30, "width": 40},
        {"id": 2, "file_name": "Images/2,b.jpg", "height": 30, "width": 41},
        {"id": 3, "file_name": "Images/3,c.jpg", "height": 30, "width": 42},
    ]
    boxes = written["annotations"]
    assert boxes[0] == {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": [-3, 2, 9, 8],
        "vis_bbox": [1, 2, 2, 2],
        "area": 72,
        "iscrowd": False,
    }
    assert [(box["id"], box["image_id"], box["iscrowd"]) for box in boxes[1:]] == [
        (2, 1, True),
        (3, 2, False),
    ]
    assert load(out / "crowdhuman_val.json")["annotations"][0]["id"] == 1, "ids count per file"


def test_nothing_is_written_into_the_data_set(root, out):
    before = tree(root)
    prepare_crowdhuman(root, out)
    assert tree(root) == before


def test_zips_are_read_without_unpacking(root, zipped, out, tmp_path):
    prepare_crowdhuman(root, tmp_path / "folders")
    before = tree(zipped)
    train, _ = prepare_crowdhuman(zipped, out)
    assert tree(out) == tree(tmp_path / "folders")
    assert tree(zipped) == before
    assert train.counts["pictures still zipped"] == 3


def test_extraction_gives_the_official_folders(root, zipped, out, tmp_path):
    prepare_crowdhuman(root, tmp_path / "folders")
    unpacked, train, *_ = prepare_crowdhuman(zipped, out, extract=True)
    assert (unpacked.path, unpacked.counts) == (zipped / "train" / "Images", {"pictures": 3})
    assert "pictures still zipped" not in train.counts
    assert tree(out) == tree(tmp_path / "folders")
    for split in ("train", "val"):
        assert tree(zipped / split) == tree(root / split)


def test_extraction_goes_on_where_it_was_broken_off(zipped, out):
    prepare_crowdhuman(zipped, out, extract=True)
    images = zipped / "train" / "Images"
    whole = (images / "1,a.jpg").read_bytes()
    (images / "1,a.jpg").write_bytes(whole[:100])
    (images / "2,b.jpg").unlink()
    kept = (images / "3,c.jpg").stat().st_mtime_ns
    assert prepare_crowdhuman(zipped, out, extract=True)[0].counts == {"pictures": 2}
    assert (images / "1,a.jpg").read_bytes() == whole
    assert (images / "3,c.jpg").stat().st_mtime_ns == kept


def test_extraction_needs_no_zips_where_they_were_unpacked(zipped, out):
    prepare_crowdhuman(zipped, out, extract=True)
    before = tree(out)
    for path in zipped.glob("*.zip"):
        path.unlink()
    prepare_crowdhuman(zipped, out, extract=True)
    assert tree(out) == before


@pytest.mark.parametrize("extract", [False, True])
def test_a_dry_run_counts_and_writes_nothing(zipped, out, tmp_path, extract):
    before = tree(tmp_path)
    planned = prepare_crowdhuman(zipped, out, extract, dry_run=True)
    assert tree(tmp_path) == before
    assert not out.exists()
    assert [each.counts["images"] for each in planned if each.path.suffix == ".json"] == [3, 1]
    assert len(planned) == (4 if extract else 2)


@pytest.mark.parametrize(
    ("place", "name"),
    [("train", "1,a.jpg"), ("Images", "Images/1,a.jpg"), ("CrowdHuman_train/Images", "Images/1,a.jpg")],
)
def test_pictures_in_other_folders_are_found(root, out, place, name):
    (root / "annotation_val.odgt").unlink()
    images = root / "train" / "Images"
    images.rename(root / "moved")
    images.parent.rmdir()
    (root / place).parent.mkdir(exist_ok=True)
    (root / "moved").rename(root / place)
    (train,) = prepare_crowdhuman(root, out)
    first = load(out / "crowdhuman_train.json")["images"][0]["file_name"]
    assert first == name
    assert (train.images / first).is_file()


def test_known_sizes_spare_opening_the_pictures(root, out):
    (root / "id_hw_train.json").write_text(json.dumps({"1,a": [7, 8], "2,b": [70, 80]}))
    (root / "train/Images/1,a.jpg").write_bytes(b"never opened")
    prepare_crowdhuman(root, out)
    images = load(out / "crowdhuman_train.json")["images"]
    assert [(each["height"], each["width"]) for each in images] == [(7, 8), (70, 80), (30, 42)]


@pytest.mark.parametrize("text", ["[]", "{", '{"1,a": [7]}', '{"1,a": [0, 7]}', '{"1,a": ["x", 7]}'])
def test_malformed_known_sizes_are_an_error(root, out, text):
    (root / "id_hw_train.json").write_text(text)
    with pytest.raises(DataError, match=r"id_hw_train.json: .*correct or remove"):
        prepare_crowdhuman(root, out)


BAD_ROWS = {
    '{"ID": "5,e", "gtboxes": [': "is no JSON .*is the file whole",
    "[1, 2]": "is no JSON object",
    '{"gtboxes": []}': "ID is None",
    '{"ID": "../../5,e", "gtboxes": []}': "must be the name of a picture",
    '{"ID": "5,e"}': "gtboxes is missing",
    '{"ID": "5,e", "gtboxes": [7]}': r"gtboxes\[0\] is no object",
    json.dumps({"ID": "5,e", "gtboxes": [person(), {**person(), "fbox": [1, 2, 3]}]}): r"gtboxes\[1\].fbox",
    json.dumps({"ID": "5,e", "gtboxes": [{**person(), "vbox": [1, 2, 3, "4"]}]}): r"gtboxes\[0\].vbox",
    '{"ID": "5,e", "gtboxes": [{"fbox": [1, 2, NaN, 4], "vbox": [1, 2, 3, 4]}]}': r"fbox is \[1, 2, nan, 4\]",
    json.dumps({"ID": "5,e", "gtboxes": [{**person(), "extra": 1}]}): "extra is no object",
    json.dumps({"ID": "4,d", "gtboxes": []}): "the picture 4,d was there before",
    json.dumps({"ID": "5,e", "gtboxes": []}): "val/Images/5,e.jpg: not found",
}


@pytest.mark.parametrize(("row", "says"), BAD_ROWS.items())
def test_a_malformed_row_is_named_with_file_and_line(root, out, row, says):
    append(root, "")
    append(root, row)
    with pytest.raises(DataError, match=f"annotation_val.odgt, line 3: .*{says}"):
        prepare_crowdhuman(root, out)
    assert not (out / "crowdhuman_val.json").exists()


def test_skipped_rows_are_counted_and_the_rest_is_written(root, out):
    prepare_crowdhuman(root, out)
    before = tree(out)
    for row in BAD_ROWS:
        append(root, row)
    bad_rows = BadRows(skip=True)
    prepare_crowdhuman(root, out, bad_rows=bad_rows)
    assert len(bad_rows.messages) == len(BAD_ROWS)
    assert tree(out) == before


def test_a_damaged_picture_is_named(root, out):
    (root / "train/Images/2,b.jpg").write_bytes(b"\xff\xd8 no picture")
    with pytest.raises(DataError, match=r"train.odgt, line 2: .*2,b.jpg: is damaged or no picture"):
        prepare_crowdhuman(root, out)


def test_a_picture_that_is_in_no_zip_is_named(zipped, out):
    (zipped / "CrowdHuman_train02.zip").unlink()
    with pytest.raises(DataError, match=r"line 2: .*2,b.jpg: not found, nor in 1 archives"):
        prepare_crowdhuman(zipped, out)


@pytest.mark.parametrize("extract", [False, True])
def test_a_truncated_zip_is_named(zipped, out, extract):
    path = zipped / "CrowdHuman_train02.zip"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"train02.zip: is no whole zip archive .*download it again"):
        prepare_crowdhuman(zipped, out, extract)


def test_a_picture_damaged_in_its_zip_is_not_unpacked(zipped, out):
    path = zipped / "CrowdHuman_train02.zip"
    data = bytearray(path.read_bytes())
    data[400] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(
        DataError, match=r"train02.zip: Images/2,b.jpg is damaged .*download the archive again"
    ):
        prepare_crowdhuman(zipped, out, extract=True)
    assert tree(zipped / "train").keys() == {"Images/1,a.jpg", "Images/3,c.jpg"}


@pytest.mark.parametrize(
    "name", ["../evil.jpg", "/evil.jpg", "Images/../../evil.jpg", "..\\evil.jpg", "C:\\e.jpg"]
)
def test_a_zip_that_leads_out_of_the_folder_is_refused(zipped, out, tmp_path, name):
    with zipfile.ZipFile(zipped / "CrowdHuman_val.zip", "a") as archive:
        archive.writestr(name, jpeg())
    with pytest.raises(DataError, match=r"CrowdHuman_val.zip: .*outside the folder"):
        prepare_crowdhuman(zipped, out, extract=True)
    assert not [path for path in tmp_path.rglob("*") if "evil" in path.name or "e.jpg" in path.name]
    assert not (zipped / "val").exists()


def test_other_entries_of_a_zip_stay_there(zipped, out):
    with zipfile.ZipFile(zipped / "CrowdHuman_val.zip", "a") as archive:
        archive.writestr("__MACOSX/Images/._4,d.jpg", b"")
        archive.writestr("readme.txt", b"")
    prepare_crowdhuman(zipped, out, extract=True)
    assert tree(zipped / "val").keys() == {"Images/4,d.jpg"}


def test_a_root_at_the_wrong_level_says_which_was_expected(root, out):
    with pytest.raises(DataError, match=f"one level too high: give {root}$"):
        prepare_crowdhuman(root.parent, out)
    with pytest.raises(DataError, match=f"one level too low: give {root}$"):
        prepare_crowdhuman(root / "train", out)
    with pytest.raises(DataError, match=r"no such folder; give the folder that holds annotation_train.odgt"):
        prepare_crowdhuman(root / "nowhere", out)


def test_annotations_without_pictures_say_where_they_belong(root, out):
    (root / "val").rename(root / "elsewhere")
    with pytest.raises(
        DataError, match=r"no pictures of val; expected the folder val/Images or .*_val\*.zip"
    ):
        prepare_crowdhuman(root, out)


def test_a_real_row_is_read_as_the_official_one(shared, out, tmp_path):
    formats = shared / "data" / "formats" / "crowdhuman"
    (tmp_path / "annotation_train.odgt").write_text((formats / "test_annotation_train.odgt").read_text())
    (tmp_path / "id_hw_train.json").write_text((formats / "id_hw_train.json").read_text())
    (tmp_path / "train" / "Images").mkdir(parents=True)
    (tmp_path / "train" / "Images" / "283554,35288000868e92d4.jpg").write_bytes(b"never opened")
    (train,) = prepare_crowdhuman(tmp_path, out)
    assert train.counts == {"images": 1, "boxes": 7, "ignored boxes": 1}
    written = load(train.path)
    assert (written["images"][0]["height"], written["images"][0]["width"]) == (1356, 2048)
    assert written["annotations"][0]["bbox"] == [1330, 317, 418, 1338]
