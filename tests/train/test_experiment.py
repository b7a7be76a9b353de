"""Experiments: presets, changed settings, and every misfit in one line."""

from __future__ import annotations

import pytest
import yaml

from svit.errors import UsageError
from svit.train.experiment import as_yaml, describe_experiment, experiment_names, load_experiment

PAPER = ("mot17-base", "mot17-test", "mot20")
SOURCES = "sources: [{sequences: mine}]"


@pytest.fixture
def written(tmp_path):
    """Writes an experiment of one's own."""

    def write(text: str, name: str = "mine.yaml") -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def test_the_presets_of_the_paper_and_the_small_ones_are_there():
    assert {*PAPER, "dancetrack", "tiny-person", "smoke"} <= set(experiment_names())


@pytest.mark.parametrize("name", experiment_names())
def test_a_preset_is_valid_says_in_a_sentence_what_it_is_and_comes_back_from_its_own_yaml(name, written):
    experiment = load_experiment(name)
    assert experiment.name == name
    assert len(describe_experiment(name)) > 20
    assert "\n" not in describe_experiment(name)
    assert load_experiment(written(as_yaml(experiment))) == experiment


@pytest.mark.parametrize("name", [*PAPER, "dancetrack"])
def test_the_recipe_is_that_of_the_official_run(name):
    """S-ViT official settings; precision differs (bf16 for fp16)."""
    run = load_experiment(name)
    assert (run.model.preset, run.batch, run.accumulate) == ("base", 2, 1)
    assert (run.data.clip.length, run.data.clip.strides) == (2, (1, 4))
    augment, scales = run.data.augment, run.multi_scale
    assert (augment.height, augment.width) == (800, 1440)
    assert (scales.smallest, scales.largest) == (18, 32)
    assert (augment.mosaic, augment.affine.scale, augment.mixup.scale) == (1, (0.1, 2), (0.8, 1.6))
    assert (augment.flip, augment.clip_boxes, augment.min_box) == (0.5, False, 1)
    optimiser, schedule = run.optimiser, run.schedule
    assert (optimiser.rate, optimiser.encoder_factor, optimiser.weight_decay) == (2.5e-4, 0.1, 0.05)
    assert (optimiser.betas, optimiser.clip_norm) == ((0.9, 0.999), 0)
    assert (schedule.epochs, schedule.warm_up_epochs, schedule.constant_epochs) == (10, 1, 1)
    assert (schedule.least, schedule.plain_epochs) == (0.05, 0)
    assert (run.average, run.average_warm_up) == (1e-4, 2000)


@pytest.mark.parametrize("name", PAPER)
def test_the_sources_are_a_tenth_of_motsynth_the_benchmark_and_all_of_crowdhuman(name):
    sources = {str(source.annotations): source.share for source in load_experiment(name).data.sources}
    benchmark, half = name.partition("-")[0].upper(), "" if name == "mot17-test" else "half-"
    assert sources == {
        "MOTSynth/all_cocoformat.json": 0.1,
        f"{benchmark}/annotations/{half}train_cocoformat.json": 1,
        "crowdhuman/annotations/crowdhuman_train.json": 1,
        "crowdhuman/annotations/crowdhuman_val.json": 1,
    }


def test_changes_reach_any_depth_and_lists():
    changes = [
        "optimiser.rate=1e-4",
        "data.sources.1.share=0.5",
        "model.settings.encoder.memory=2",
        "batch=1",
    ]
    run = load_experiment("mot17-base", changes)
    assert (run.optimiser.rate, run.data.sources[1].share, run.batch) == (1e-4, 0.5, 1)
    assert run.data.sources[0] == load_experiment("mot17-base").data.sources[0]
    model = run.model_settings().encoder
    assert (model.memory, model.width, model.drop_path) == (2, 768, 0.1), "the preset's other settings stay"


def test_a_group_that_is_switched_off_can_be_switched_on():
    assert load_experiment("smoke").multi_scale is None
    scales = load_experiment("smoke", ["multi_scale.smallest=4", "multi_scale.largest=6"]).multi_scale
    assert (scales.smallest, scales.largest) == (4, 6)


def test_both_spellings_of_a_models_setting_are_the_same_and_the_later_one_counts(written):
    text = (
        f"model: {{preset: tiny, settings: {{encoder__memory: 4}}}}\ndata: {{{SOURCES}}}\nmulti_scale: null"
    )
    own = written(text)
    nested = load_experiment(own, ["model.settings.encoder.memory=2"])
    joined = load_experiment(own, ["model.settings.encoder__memory=2"])
    assert nested == joined
    assert nested.model_settings().encoder.memory == 2


def test_the_data_set_that_scores_is_looked_for_where_the_others_are():
    assert str(load_experiment("mot17-base", ["data.root=/big"]).evaluate.root) == "/big/MOT17"
    assert str(load_experiment("mot17-base", ["evaluate.root=/other"]).evaluate.root) == "/other"
    assert load_experiment("mot17-base", ["evaluate.dataset=sample"]).evaluate.root is None, (
        "it comes with svit"
    )


def test_an_own_file_is_named_after_itself_unless_it_says_otherwise(written):
    small = f"model: {{preset: tiny}}\ndata: {{{SOURCES}}}"
    assert load_experiment(written(small)).name == "mine"
    assert load_experiment(written(f"name: other\n{small}")).name == "other"
    assert load_experiment(written(small)).model_settings().name == "mine"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("optimizer.rate=1", "unknown setting 'optimizer' .*did you mean 'optimiser'"),
        ("optimiser.rat=1", "unknown setting 'optimiser.rat' .*did you mean 'rate'"),
        ("data.sources.0.shar=1", "unknown setting 'data.sources.0.shar' .*did you mean 'share'"),
        ("data.sources.9.share=1", "'9' is no number from 0 to 0"),
        ("data.sources.first.share=1", "'first' is no number from 0 to 0"),
        ("data.sources=[]", "setting 'data' .*nothing to train on: neither sources nor actions"),
        ("evaluate.split=val", "evaluate.split=val is of data.actions.index, and there is none"),
        ("evaluate.clips=9", "evaluate.clips=9 are of data.actions.synthetic, and there is none"),
        ("data.actions.split=val", "'data.actions' .*either an index of videos or synthetic clips"),
        ("data.actions.synthetic.size=60", "frames of 60x60, model tiny needs multiples of 32"),
        ("model.settings.encoder.memry=1", "unknown setting 'encoder.memry' .*did you mean 'memory'"),
        ("model.preset=tiyn", "unknown model preset 'tiyn'; did you mean 'tiny'"),
        ("evaluate.dataset=mot17-hal", "no data set or folder 'mot17-hal'; did you mean 'mot17-half'"),
        ("batch=0", "'batch' .*greater than 0"),
        ("batch.size=3", "'batch' .*valid integer"),
        ("form=clips", "'form' .*'clip' or 'step'"),
        ("log_to=[tensorbord]", "'log_to.0' .*'tensorboard' or 'wandb'"),
        ("schedule.epochs=1", "warm_up_epochs and constant_epochs are longer than epochs"),
        ("schedule.plain_epochs=26", "plain_epochs are longer than epochs"),
        ("data.clip.strides=[3, 1]", "strides .3, 1. must be the least and the greatest, from 1"),
        ("data.clip.strides=[0, 1]", "strides .0, 1. must be"),
        ("data.sources.0.part=235-200", "unknown part '235-200'"),
        ("data.augment.height=161", "'data.augment.height' .*multiple of 32"),
        ("model.preset=large", "frames of 160x96, model large needs multiples of 28 pixels"),
        ("batch", "'batch' is no setting; write key=value"),
        ("=3", "'=3' is no setting"),
        ("batch=[1", "the value of 'batch=.1' is no YAML"),
    ],
)
def test_a_wrong_setting_is_one_line(change, says):
    with pytest.raises(UsageError, match=says) as caught:
        load_experiment("smoke", [change])
    assert "\n" not in str(caught.value)


def test_sizes_that_change_need_a_model_of_their_stride():
    with pytest.raises(UsageError, match=r"multi_scale .*multiples of 32 .*large needs multiples of 28"):
        load_experiment("mot17-base", ["model.preset=large"])
    sides = ["data.augment.height=896", "data.augment.width=1568"]
    assert (
        load_experiment("mot17-base", ["model.preset=large", "multi_scale=null", *sides]).multi_scale is None
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [1", "is no YAML"),
        ("just words", "an experiment is a list of settings"),
        ("", "an experiment is a list of settings"),
        ("batch: 2", "'data' of mine: Field required"),
        ("data: {}", "'data' of mine: there is nothing to train on"),
        ("data: {sources: [{share: 1}]}", "a source has either annotations or sequences"),
    ],
)
def test_a_file_that_is_no_experiment_is_one_line(written, text, says):
    with pytest.raises(UsageError, match=says) as caught:
        load_experiment(written(text))
    assert "\n" not in str(caught.value)


def test_an_experiment_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(UsageError, match="unknown experiment 'smok'; did you mean 'smoke'"):
        load_experiment("smok")
    with pytest.raises(UsageError, match=r"none\.yaml: No such file"):
        load_experiment(str(tmp_path / "none.yaml"))
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"binary\.yaml: is no YAML"):
        load_experiment(str(tmp_path / "binary.yaml"))


def test_the_yaml_of_an_experiment_is_plain(written):
    values = yaml.safe_load(as_yaml(load_experiment("mot17-base")))
    assert values["data"]["root"] == "data"
    assert values["data"]["clip"]["strides"] == [1, 4]
