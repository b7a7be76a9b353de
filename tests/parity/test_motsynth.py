"""MOTSynth's annotations become the official script's file, number for number."""

from __future__ import annotations

import json

from tests.parity.golden import golden_path, load_json

from svit.data.prepare.motsynth import MotSynthOptions, prepare_motsynth


def converted(tmp_path, **options):
    path = tmp_path / "all.json"
    told = prepare_motsynth(
        golden_path("converters/input/MOTSynth/annotations"), path, MotSynthOptions(**options)
    )
    return json.loads(path.read_text()), told.counts


def expected():
    return load_json("converters/expected/motsynth_all_cocoformat.json")


def test_official_ids_give_the_official_file(tmp_path):
    content, counts = converted(tmp_path, official_ids=True)
    assert content == expected()
    assert counts == {"videos": 3, "images": 12, "annotations": 34, "instances": 12}


def test_by_default_only_instance_ids_and_their_number_differ(tmp_path):
    ours, counts = converted(tmp_path)
    official = expected()
    people = {}
    video = {image["id"]: image["video_id"] for image in official["images"]}
    for new, old in zip(ours["annotations"], official["annotations"], strict=True):
        person = (video[old["image_id"]], old.pop("instance_id"))
        people.setdefault(person, set()).add(new.pop("instance_id"))
    assert all(len(ids) == 1 for ids in people.values()), "one id a person"
    assert set.union(*people.values()) == set(range(len(people))), "and none that two people share"
    assert ours.pop("num_instances") == len(people) == counts["instances"]
    assert official.pop("num_instances") != len(people)
    assert ours == official
