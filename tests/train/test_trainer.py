"""One step of the trainer, beside one written by hand, and what it does when a step goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from tests.train.small import small_experiment
from torch import Tensor

from svit.model.detector_loss import detection_loss
from svit.model.video_model import VideoModel
from svit.train.batches import Feed, LoadedBatch, Share, load_batches
from svit.train.experiment import Experiment
from svit.train.sources import load_clips
from svit.train.start import start_model
from svit.train.trainer import LossError, StepResult, Trainer

STEPS_PER_EPOCH = 3.0


def trainer_of(experiment: Experiment) -> Trainer:
    precision = "no" if experiment.precision == "fp32" else experiment.precision
    engine = Accelerator(mixed_precision=precision, cpu=True)
    return Trainer(experiment, start_model(experiment)[0], engine, STEPS_PER_EPOCH)


def batches_of(experiment: Experiment) -> Iterator[LoadedBatch]:
    share = Share(experiment.batch, experiment.accumulate)
    return load_batches([Feed(load_clips(experiment), share)], 0, workers=0)


def state_of(model: VideoModel) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def one_step(experiment: Experiment, step: int = 1) -> tuple[Trainer, StepResult]:
    trainer = trainer_of(experiment)
    return trainer, trainer.step(step, batches_of(experiment))


def written_by_hand(experiment: Experiment) -> tuple[VideoModel, float, float]:
    """Step 1, frame by frame as the formulas have it; the model, the total loss and the gradient's norm.

    In the warm-up of 1.5 steps the second one has the full rate; positions, stem and so on decay, the head's
    vectors do not. Without dropped paths and with one size, so that nothing is random.
    """
    model = start_model(experiment)[0].train()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (model.config.input.mean, model.config.input.std))
    total, positives, batches = torch.zeros(()), 0.0, batches_of(experiment)
    assert model.pyramid is not None
    assert model.detector is not None
    for _ in range(experiment.accumulate):
        loaded, memory = next(batches).batch, None
        for t in range(loaded.frames.shape[1]):
            stages, memory = model.encoder((loaded.frames[:, t : t + 1] - mean) / std, memory)
            targets = [[clip[t]] for clip in loaded.targets]
            ignore = [[clip[t]] for clip in loaded.ignore]
            losses = detection_loss(model.detector(model.pyramid(stages)), targets, False, ignore)
            total = total + losses["total"] * losses["positives"].clamp(min=1)
            positives += float(losses["positives"])
    (total / positives).backward()
    named = dict(model.named_parameters())
    norm = torch.stack([p.grad.square().sum() for p in named.values() if p.grad is not None]).sum().sqrt()
    limit = experiment.optimiser.clip_norm
    with torch.no_grad():
        for name, p in named.items():
            assert p.grad is not None
            gradient = p.grad * min(1.0, limit / float(norm)) if limit else p.grad
            decays = name.startswith(("encoder.", "pyramid.")) or p.ndim > 1
            p.mul_(1 - 1e-3 * (0.05 if decays else 0.0))
            # Adam's first step: both running means are those of this gradient alone.
            p.sub_(1e-3 * gradient / (gradient.abs() + 1e-8))
    return model, float(total.detach() / positives), float(norm)


@pytest.mark.parametrize(
    "settings", [{}, {"form": "step"}, {"optimiser__clip_norm": 0.5, "checkpointing": True}]
)
def test_a_step_is_the_one_written_by_hand(tmp_path: Path, settings: dict[str, Any]) -> None:
    model = {"encoder__drop_path": 0.0, "encoder__memory_gradient": "form" not in settings}
    experiment = small_experiment(tmp_path, multi_scale=None, schedule__plain_epochs=0, **settings)
    changed = experiment.model.model_copy(update={"settings": {**experiment.model.settings, **model}})
    experiment = experiment.model_copy(update={"model": changed})
    before = state_of(start_model(experiment)[0])
    trainer, result = one_step(experiment)
    expected, total, norm = written_by_hand(experiment)
    assert result.rate == 1.0
    assert result.losses["total"] == pytest.approx(total, rel=1e-5)
    assert float(result.norm) == pytest.approx(norm, rel=1e-4)
    still = {name for name, p in trainer.model.named_parameters() if torch.equal(p, before[name])}
    assert all(".residual.norm" in name for name in still), "only these start without a gradient"
    compared = 0
    for name, p in expected.named_parameters():
        # Adam moves by the gradient's sign, which is rounding where there is no gradient: a key's bias.
        assert p.grad is not None
        clear = p.grad.abs() > 1e-5
        compared += int(clear.sum())
        torch.testing.assert_close(trainer.model.get_parameter(name)[clear], p[clear], rtol=0, atol=1e-5)
    assert compared > 0.9 * sum(p.numel() for p in expected.parameters())
    share = 0.1 + 0.9 * torch.exp(torch.tensor(-2 / 2))
    averaged = trainer.average.state["encoder.positions"]
    torch.testing.assert_close(
        averaged, before["encoder.positions"].lerp(trainer.model.encoder.positions, share)
    )


def test_a_step_takes_all_its_clips_in_whatever_portions(tmp_path: Path) -> None:
    """Portions differ only in what batch norm sees together: without it, one of 4 is 2 of 2."""
    results = []
    for batch, accumulate in ((4, 1), (2, 2)):
        experiment = small_experiment(tmp_path / str(batch), batch=batch, accumulate=accumulate)
        trainer = trainer_of(experiment)
        trainer.model.eval()
        results.append(trainer.step(0, batches_of(experiment)))
    for name, value in results[0].losses.items():
        assert results[1].losses[name] == pytest.approx(value, rel=1e-4)
    assert results[0].positives == results[1].positives > 0


@pytest.mark.parametrize("damage", ["nan", "explode"])
def test_a_loss_that_is_no_number_or_explodes_leaves_the_weights(tmp_path: Path, damage: str) -> None:
    experiment = small_experiment(tmp_path, explode=1.0 if damage == "explode" else 1e4)
    trainer = trainer_of(experiment)
    if damage == "nan":
        trainer.model.encoder.blocks[0].norm1.weight.data[0] = torch.nan
    before = {name: p.clone() for name, p in trainer.model.named_parameters()}
    with pytest.raises(LossError, match="the loss is") as error:
        trainer.step(0, batches_of(experiment))
    assert len(error.value.batches) == experiment.accumulate
    for name, p in trainer.model.named_parameters():
        torch.testing.assert_close(p, before[name], rtol=0, atol=0, equal_nan=True)


def test_bf16_keeps_weights_in_fp32_and_comes_close(tmp_path: Path) -> None:
    fp32 = one_step(small_experiment(tmp_path / "fp32"))[1]
    AcceleratorState._reset_state(reset_partial_state=True)
    trainer, bf16 = one_step(small_experiment(tmp_path / "bf16", precision="bf16"))
    assert {p.dtype for p in trainer.model.parameters()} == {torch.float32}
    assert bf16.losses["total"] != fp32.losses["total"]
    assert bf16.losses["total"] == pytest.approx(fp32.losses["total"], rel=0.05)
    assert float(bf16.norm) == pytest.approx(float(fp32.norm), rel=0.1)


def scaled(trainer: Trainer, scale: float) -> torch.amp.GradScaler:
    """Gives a trainer what fp16 has on a GPU, but for fp16 itself: its rounding would hide the scaler's."""
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    engine, optimiser = trainer.engine, trainer.optimiser
    engine.scaler, engine.native_amp, engine.state._mixed_precision = scaler, True, "fp16"
    engine.autocast = nullcontext
    trainer.optimiser = type(optimiser)(optimiser.optimizer, device_placement=False, scaler=scaler)
    return scaler


def test_a_gradient_scaler_changes_no_number_and_skips_a_step_that_overflows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = small_experiment(tmp_path, optimiser__clip_norm=0.5)
    plain, expected = one_step(experiment)
    trainer = trainer_of(experiment)
    scaler = scaled(trainer, 2.0**16)
    result = trainer.step(1, batches_of(experiment))
    assert float(result.norm) == pytest.approx(float(expected.norm), rel=1e-6)
    for p, other in zip(trainer.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(p, other, rtol=1e-6, atol=1e-7)
    assert scaler.get_scale() == 2.0**16
    before = [p.clone() for p in trainer.model.parameters()]
    scaler.update(new_scale=2.0**127)
    monkeypatch.setattr("svit.train.trainer.LOSS_SCALE", 1e3)
    trainer.step(2, batches_of(experiment))
    assert all(torch.equal(p, old) for p, old in zip(trainer.model.parameters(), before, strict=True))
    assert scaler.get_scale() < 2.0**127
