"""Training of actions, alone and beside detection: steps, going on, partial windows, groups, clear errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from tests.train.small import MODEL, finish_processes, run_steps, small_experiment, start_processes

from svit.config import preset
from svit.errors import DataError, UsageError, WeightsError
from svit.model.video_model import VideoModel
from svit.train.batches import Feed, Share, load_batches
from svit.train.experiment import Experiment, OptimiserConfig, load_experiment
from svit.train.loop import Training
from svit.train.objective import ActionBatch, ClipLoss
from svit.train.optim import parameter_groups
from svit.train.ready import check_ready
from svit.train.sources import load_actions, load_tasks
from svit.train.start import start_model
from svit.train.trainer import Trainer

ACTION = {
    "synthetic": {"pairs": ["moves"], "length": 3, "size": 32, "clips": 16},
    "pictures": "walk/img1",
    "partial": {"lengths": [1, 2]},
}


def experiment_of(folder: Path, **changes: Any) -> Experiment:
    """Both tasks; `data__sources=()` leaves actions alone."""
    head = {"action__depth": 1, "action__dropout": 0.0, "action__window": 3}
    settings = {"model": {"preset": "tiny", "settings": {**MODEL, **head}}, "data__actions": ACTION}
    return small_experiment(folder, **{**settings, **changes})


def losses_of(output: Path) -> list[float]:
    records = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    return [record["losses"]["total"] for record in records if "losses" in record]


@pytest.mark.parametrize("alone", [False, True])
def test_a_stopped_run_goes_on_and_two_processes_are_one_with_twice_the_accumulation(
    tmp_path: Path, alone: bool
) -> None:
    experiment = experiment_of(tmp_path, **({"data__sources": []} if alone else {}))
    run_steps(Training(experiment, tmp_path / "whole"), 4)
    run_steps(Training(experiment, tmp_path / "stopped"), 2)
    run_steps(Training(experiment, tmp_path / "stopped"), 4)
    expected = losses_of(tmp_path / "whole")
    assert losses_of(tmp_path / "stopped") == expected
    path = tmp_path / "small.yaml"
    finish_processes(start_processes(2, path, tmp_path / "two", 2, "accumulate=1"))
    assert losses_of(tmp_path / "two") == pytest.approx(expected[:2], rel=1e-4)
    run_steps(Training(load_experiment(str(path)), tmp_path / "two"), 4)
    assert losses_of(tmp_path / "two") == pytest.approx(expected, rel=1e-3)


def test_the_loss_and_the_gradient_of_both_tasks_are_the_weighted_sum_of_their_means(tmp_path: Path) -> None:
    actions = {**ACTION, "weight": 0.5, "partial": {"share": 0}}
    drop = {
        **experiment_of(tmp_path / "a").model.settings,
        "encoder__drop_path": 0.0,
        "action__drop_path": 0.0,
    }
    model = {"preset": "tiny", "settings": {**drop, "action__head_dropout": 0.0}}
    losses, gradients = [], []
    for name, changes in (
        ("both", {}),
        ("boxes", {"data__actions": None}),
        ("actions", {"data__sources": []}),
    ):
        data = {"data__actions": actions, "model": model, "multi_scale": None, **changes}
        if name == "boxes":
            data["model"] = {**model, "settings": {**model["settings"], "action__class_names": ["l", "r"]}}
        experiment = experiment_of(tmp_path / name, **data)
        tasks = load_tasks(experiment)
        net = start_model(experiment, actions=["moves left", "moves right"])[0]
        trainer = Trainer(experiment, net, Accelerator(cpu=True), 3.0)
        trainer.model.eval()
        feeds = [Feed(clips, Share(2, 2)) for clips in tasks.values()]
        found: dict[str, torch.Tensor] = {}
        trainer.optimiser.step = lambda t=trainer, f=found: f.update(  # type: ignore[method-assign]
            {n: p.grad.clone() for n, p in t.model.named_parameters() if p.grad is not None}
        )
        result = trainer.step(0, load_batches(feeds, 0, 0))
        losses.append(result.losses)
        gradients.append(found)
    both, boxes, acted = losses
    assert both["cls"] == pytest.approx(boxes["cls"], rel=1e-4)
    assert both["total"] == pytest.approx(
        boxes["total"] + 0.5 * (both["action"] + 0.3 * both["early"]), rel=1e-5
    )
    assert {"action", "early", "total"} == set(acted)
    assert acted["total"] == pytest.approx(acted["action"] + 0.3 * acted["early"], rel=1e-5)
    # What no action touches has the detection's gradient, whatever the positives are.
    name = "detector.head.conv_obj.0.weight"
    torch.testing.assert_close(gradients[0][name], gradients[1][name], rtol=1e-3, atol=1e-5)
    assert "action.classifier.weight" not in gradients[1], "a head without data is frozen"
    assert float(gradients[0]["action.classifier.weight"].abs().sum()) > 0


def test_a_full_window_and_memory_change_nothing(tmp_path: Path) -> None:
    model = start_model(experiment_of(tmp_path), actions=["a", "b"])[0].eval()
    frames, targets = torch.randn(2, 3, 3, 32, 32), torch.eye(2)
    loss = ClipLoss(model)
    whole, full, partial = (
        float(loss(ActionBatch(frames, targets, length, 1))[0].detach()) for length in (None, 16, 1)
    )
    assert full == pytest.approx(whole, rel=1e-6)
    assert partial != pytest.approx(whole, rel=1e-6)


def test_frozen_parts_stay_what_they_are_statistics_included_and_the_rest_learns(tmp_path: Path) -> None:
    settings = {**MODEL, "action__depth": 1, "action__window": 3}
    model = {"preset": "tiny", "settings": settings, "frozen": ["encoder", "pyramid"]}
    experiment = experiment_of(tmp_path, model=model)
    before = start_model(experiment, actions=["moves left", "moves right"])[0].state_dict()
    training = Training(experiment, tmp_path / "run")
    run_steps(training, 2)
    after = training.trainer.model.state_dict()
    changed = {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"detector", "action"}
    assert any("running_mean" in name for name in before if name.startswith(("encoder", "pyramid")))


def test_freezing_everything_or_something_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    every = {"preset": "tiny", "frozen": ["encoder", "pyramid", "detector", "action"]}
    with pytest.raises(UsageError, match=r"model\.frozen leaves nothing to train"):
        start_model(experiment_of(tmp_path / "a", model=every), actions=["a", "b"])
    with pytest.raises(UsageError, match=r"model\.frozen"):
        experiment_of(tmp_path / "b", model={"preset": "tiny", "frozen": ["neck"]})


def test_clips_weights_decay_by_layer_and_vectors_and_embeddings_never_decay() -> None:
    settings = {"detector": None, "pyramid": False, "encoder__outputs": (11,), "action__token": "attention"}
    with torch.device("meta"):
        model = VideoModel(preset("base", action__class_names=("a", "b"), **settings))
    config = OptimiserConfig(rate=2e-4, groups="clip", encoder_factor=0.2, layer_decay=0.75)
    of = {name: group for group in parameter_groups(model, config) for name in group["names"]}
    assert set(of) == {name for name, _ in model.named_parameters()}
    expected = {
        "action.classifier.weight": (2e-4, 0.05),
        "action.decoder.positions": (2e-4, 0.0),
        "action.decoder.class_token": (2e-4, 0.0),
        "action.token.pool.queries": (2e-4, 0.0),
        "encoder.blocks.11.attention.qkv.weight": (4e-5 * 0.75, 0.05),
        "encoder.blocks.11.attention.query_t.weight": (2e-4, 0.05),
        "encoder.blocks.0.mlp.0.weight": (4e-5 * 0.75**12, 0.05),
        "encoder.blocks.0.norm1.weight": (4e-5 * 0.75**12, 0.0),
        "encoder.positions": (4e-5 * 0.75**13, 0.0),
        "encoder.norms.11.weight": (4e-5, 0.0),
        "encoder.blocks.2.residual.conv1.weight": (2e-4, 0.05),
    }
    for name, (rate, decay) in expected.items():
        assert (of[name]["peak"], of[name]["weight_decay"]) == (pytest.approx(rate), decay), name


def test_what_is_missing_or_does_not_fit_is_one_line(tmp_path: Path) -> None:
    experiment = experiment_of(tmp_path)
    with pytest.raises(DataError, match=r"none.json: not found; svit prepare video-folder writes it"):
        check_ready(experiment_of(tmp_path / "a", data__actions={"index": "none.json"}), tmp_path / "run")
    bad = experiment_of(tmp_path / "b", data__actions={**ACTION, "pictures": "none"})
    with pytest.raises(DataError, match=r"none: not found; synthetic clips are cut from"):
        check_ready(bad, tmp_path / "run")
    named = {"preset": "tiny", "settings": {**MODEL, "action__class_names": ["a", "b", "c"]}}
    with pytest.raises(UsageError, match=r"class_names has 3 classes, which are not the 2 of the data"):
        load_actions(experiment_of(tmp_path / "c", model=named))
    start = {**experiment.model.model_dump(), "start": "tiny-person", "settings": {"action__depth": 1}}
    with pytest.raises(WeightsError, match=r"has no action head.*model.new_head=true starts the action head"):
        start_model(experiment_of(tmp_path / "d", model=start), actions=["a", "b"])
    model, origin = start_model(
        experiment_of(tmp_path / "e", model={**start, "new_head": True}), actions=["a"]
    )
    assert origin == "weights: tiny-person; new: action"
    assert model.action is not None
