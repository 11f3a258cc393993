"""Groups of options: what typer sees of them, and what settings they make."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from napari_inr_volume.cli.app import app
from napari_inr_volume.cli.options import FitOptions, expanded
from napari_inr_volume.core.errors import FitError
from napari_inr_volume.fields.registry import find_preset


@dataclass(frozen=True, kw_only=True)
class Colours:
    """A group, as a command takes it."""

    red: Annotated[int, typer.Option(help="How red it is.")] = 1
    is_blue: Annotated[bool, typer.Option("--blue", help="Whether it is blue.")] = False


def paint(
    wall: Annotated[Path, typer.Argument(help="What to paint.")], *, coats: int = 1, colours: Colours
) -> None:
    """Paint a wall."""
    print(wall, coats, colours)


@pytest.fixture
def painting() -> typer.Typer:
    app = typer.Typer()
    app.command()(expanded(paint))
    return app


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["x"], f"x 1 {Colours()}"),
        (["x", "--red", "5", "--blue"], f"x 1 {Colours(red=5, is_blue=True)}"),
        (["--blue", "x", "--coats", "2"], f"x 2 {Colours(is_blue=True)}"),
    ],
    ids=str,
)
def test_a_group_is_made_of_its_options(painting: typer.Typer, arguments: list[str], printed: str) -> None:
    result = CliRunner().invoke(painting, arguments)
    assert result.output == f"{printed}\n"


def test_options_of_a_group_are_in_the_help_with_their_defaults(painting: typer.Typer) -> None:
    shown = CliRunner().invoke(painting, ["--help"], env={"TERM": "dumb"}).output
    assert "Paint a wall." in shown
    assert "How red it is." in shown
    assert "--blue" in shown
    assert "--is-blue" not in shown
    assert "--colours" not in shown


def test_an_option_of_a_group_has_its_type(painting: typer.Typer) -> None:
    assert CliRunner().invoke(painting, ["x", "--red", "much"]).exit_code == 2


def commands() -> list[Any]:
    return sorted(typer.main.get_command(app).commands.items())


@pytest.mark.parametrize(("name", "command"), commands(), ids=[name for name, _ in commands()])
def test_every_option_says_what_it_does_in_a_sentence(name: str, command: Any) -> None:
    assert command.get_short_help_str().endswith(".")
    for parameter in command.params:
        words = parameter.help
        assert words, parameter.name
        assert words[0].isupper() or words.startswith("omega_0"), words
        assert words.endswith("."), words
        assert "the same" not in words.lower().split(";")[0].split(",")[0], words  # it stands alone


def test_settings_are_the_preset_but_for_what_is_given() -> None:
    preset = find_preset("fast")
    assert FitOptions(preset="fast").settings() == preset
    settings = FitOptions(preset="fast", factor="2", layers=3, steps=400, learning_rate=0.01).settings()
    assert settings.factor == (2.0, 2.0, 2.0)
    assert settings.field.layers == 3
    assert settings.fit.all_steps == 400
    assert settings.fit.learning_rate == 0.01
    assert settings.fit.batch == preset.fit.batch


@pytest.mark.parametrize("factor", ["1,4", "four", "1,2,3,4", ""])
def test_a_factor_that_is_none_is_named(factor: str) -> None:
    with pytest.raises(FitError, match="three for z,y,x"):
        FitOptions(factor=factor).settings()
