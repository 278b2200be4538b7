"""Something-Something v2 and Diving48: what their own JSON files say becomes the table; other content is refused."""

import json

import pytest

from s2vc.manifests.diving48 import read_diving48
from s2vc.manifests.errors import UserError
from s2vc.manifests.something_something import read_something_something

LABELS = {"Holding something next to something": "1", "Approaching something with your camera": "0"}
TRAIN = [
    {
        "id": "78687",
        "label": "holding potato next to vicks vaporub bottle",
        "template": "Holding [something] next to [something]",
        "placeholders": ["potato", "vicks vaporub bottle"],
    },
    {
        "id": "42326",
        "label": "approaching a lamp with your camera",
        "template": "Approaching [something] with your camera",
        "placeholders": ["a lamp"],
    },
]
VALIDATION = [TRAIN[1] | {"id": "9"}, TRAIN[0] | {"id": "100904"}]

VOCABULARY = [
    ["Back", "15som", "05Twis", "FREE"],
    ["Back", "15som", "15Twis", "FREE"],
    ["Back", "15som", "NoTwis", "PIKE"],
]
DIVES = {
    "Diving48_V2_train.json": [
        {"vid_name": "-_8Vy3dlHg2_00003", "label": 2, "start_frame": 0, "end_frame": 157},
        {"vid_name": "2x00lRzlTVQ_00001", "label": 0, "start_frame": 0, "end_frame": 120},
    ],
    "Diving48_V2_test.json": [{"vid_name": "01qdTMQlZzU_00000", "label": 1, "start_frame": 0, "end_frame": 90}],
}


def put_json(place, name, content):
    (place.lists / name).write_text(json.dumps(content))


@pytest.fixture
def ssv2(place):
    place.put("20bn-something-something-v2/78687.webm", "42326.mp4", "9.webm")
    for name, content in {"labels": LABELS, "train": TRAIN, "validation": VALIDATION}.items():
        put_json(place, f"something-something-v2-{name}.json", content)
    return place


@pytest.fixture
def diving(place):
    place.put("rgb/-_8Vy3dlHg2_00003.mp4", "rgb/2x00lRzlTVQ_00001.mp4", "rgb/01qdTMQlZzU_00000.mp4")
    put_json(place, "Diving48_vocab.json", VOCABULARY)
    for name, content in DIVES.items():
        put_json(place, name, content)
    return place


def test_templates_of_something_something_are_its_classes(ssv2):
    reading = read_something_something(ssv2.videos, ssv2.lists)
    holding, approaching = LABELS
    columns = ["video_id", "label", "class_name", "split1"]
    assert reading.table[columns].values.tolist() == [
        ["20bn-something-something-v2/78687.webm", "1", holding, "train"],
        ["42326.mp4", "0", approaching, "train"],
        ["9.webm", "0", approaching, "val"],
    ]
    assert reading.missing["video_id"].tolist() == ["100904.webm"]


def test_the_later_names_of_its_files_are_found(ssv2):
    before = read_something_something(ssv2.videos, ssv2.lists).table
    for path in list(ssv2.lists.iterdir()):
        path.rename(path.with_name(path.name.removeprefix("something-something-v2-")))
    assert read_something_something(ssv2.videos, ssv2.lists).table.equals(before)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train", [{"id": "1"}], r"train\.json, entry 1: not an object with the texts id and template"),
        ("train", [TRAIN[0], {"id": 5, "template": "x"}], "entry 2: not an object"),
        (
            "train",
            [TRAIN[0] | {"template": "Holding [nothing]"}],
            r"'Holding \[nothing\]' is no class of .*labels\.json",
        ),
        ("train", {"id": "1"}, "holds no list, but a dict"),
        ("train", ["1"], "entry 1: no object"),
        ("labels", ["Holding something"], "holds no object of class names"),
        ("labels", {"a": "0", "b": "2"}, "the numbers of its 2 classes are not 0 to 1, each once"),
        ("labels", {"a": "first"}, "the class 'a' has the number 'first', which is no whole number"),
        (
            "validation",
            [VALIDATION[0] | {"id": "78687"}],
            "78687.webm' has class 0 .* here and 1 .* in an earlier line",
        ),
    ],
)
def test_what_is_none_of_its_files_is_named(ssv2, name, content, message):
    put_json(ssv2, f"something-something-v2-{name}.json", content)
    with pytest.raises(UserError, match=message):
        read_something_something(ssv2.videos, ssv2.lists)


def test_a_missing_file_and_broken_json_are_named(ssv2):
    path = ssv2.lists / "something-something-v2-train.json"
    path.write_text('[\n{"id": "1",,}]')
    with pytest.raises(UserError, match=r"train\.json, line 2: not JSON"):
        read_something_something(ssv2.videos, ssv2.lists)
    path.unlink()
    with pytest.raises(UserError, match=r"no something-something-v2-train\.json or train\.json in"):
        read_something_something(ssv2.videos, ssv2.lists)


def test_a_class_of_diving48_is_the_words_of_its_vocabulary(diving):
    reading = read_diving48(diving.videos, diving.lists)
    columns = ["video_id", "label", "class_name", "split1"]
    assert reading.table[columns].values.tolist() == [
        ["rgb/-_8Vy3dlHg2_00003.mp4", "2", "Back 15som NoTwis PIKE", "train"],
        ["rgb/01qdTMQlZzU_00000.mp4", "1", "Back 15som 15Twis FREE", "test"],
        ["rgb/2x00lRzlTVQ_00001.mp4", "0", "Back 15som 05Twis FREE", "train"],
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("Diving48_V2_test.json", [{"vid_name": "a", "label": 3}], "entry 1: label 3, .* classes 0 to 2"),
        ("Diving48_V2_test.json", [{"vid_name": "a", "label": "0"}], "entry 1: not an object with the text vid_name"),
        ("Diving48_V2_test.json", [{"label": 0}], "entry 1: not an object with the text vid_name"),
        ("Diving48_vocab.json", [["Back"], "PIKE"], "class 1 is no list of words"),
        ("Diving48_vocab.json", [["Back"], ["Back"]], "two classes have the same words"),
        ("Diving48_vocab.json", {}, "holds no list of classes"),
    ],
)
def test_what_is_none_of_diving48_s_files_is_named(diving, name, content, message):
    put_json(diving, name, content)
    with pytest.raises(UserError, match=message):
        read_diving48(diving.videos, diving.lists)


def test_a_missing_list_of_diving48_is_named(diving):
    (diving.lists / "Diving48_V2_train.json").unlink()
    with pytest.raises(UserError, match=r"cannot read .*Diving48_V2_train\.json: No such file"):
        read_diving48(diving.videos, diving.lists)
