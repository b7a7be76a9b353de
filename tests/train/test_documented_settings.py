"""docs/training.md lists every setting of an experiment, as the classes have them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from svit.config import Settings
from svit.train.experiment import Experiment, experiment_names, load_experiment

PAGE = Path(__file__).resolve().parents[2] / "docs" / "training.md"
REQUIRED = "needed"


def test_the_table_of_settings_is_the_configuration():
    assert settings_table() in PAGE.read_text(), f"docs/training.md needs\n{settings_table()}"


def test_the_experiment_that_the_page_shows_is_valid(tmp_path):
    text = PAGE.read_text().partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "camera.yaml").write_text(text)
    assert load_experiment(str(tmp_path / "camera.yaml")).data.sources[1].share == 0.5


def test_the_table_of_experiments_names_them_all():
    for name in experiment_names():
        assert f"| `{name}` | " in PAGE.read_text()


def settings_table() -> str:
    rows = "".join(
        f"| `{name}` | {default} | {meaning} |\n" for name, default, meaning in rows_of(Experiment, "")
    )
    return f"| setting | default | meaning |\n| --- | --- | --- |\n{rows}"


def rows_of(settings: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    """Single settings first, then those of groups."""
    groups = []
    for name, field in settings.model_fields.items():
        inner = group_in(field.annotation)
        if inner is None:
            yield f"{prefix}{name}", shown(field.get_default(), field.is_required()), field.description or ""
        else:
            groups.append((name, field, inner))
    for name, field, inner in groups:
        listed = ".0" if "tuple" in str(field.annotation) else ""
        if field.description and not listed:
            default = "off" if field.get_default() is None else "on"
            yield f"{prefix}{name}", default, field.description
        yield from rows_of(inner, f"{prefix}{name}{listed}.")


def group_in(annotation: object) -> type[Settings] | None:
    """The class of settings that a field holds, alone, in a tuple or beside None."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return annotation
    found = [group_in(part) for part in getattr(annotation, "__args__", ())]
    return next(filter(None, found), None)


def shown(default: object, needed: bool) -> str:
    if needed:
        return REQUIRED
    if isinstance(default, bool):
        return "on" if default else "off"
    if default is None or default in ("", {}):
        return "none"
    return ", ".join(map(str, default)) if isinstance(default, tuple) else str(default)
