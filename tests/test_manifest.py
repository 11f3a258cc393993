"""napari.yaml, checked further than `npe2 validate` does, which accepts references to nothing."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
import yaml
from napari._app_model.constants import MenuId
from npe2 import PluginManager, PluginManifest
from npe2.manifest.contributions import ContributionPoints

import napari_inr_volume
from napari_inr_volume.plugin.keys import KEYS
from napari_inr_volume.plugin.readers import VOLUMES

PLUGIN = "napari-inr-volume"
PACKAGE = Path(napari_inr_volume.__file__).parent
MANIFEST = PACKAGE / "napari.yaml"
TOP_LEVEL = Path(__file__).parents[1] / "napari.yaml"
CONTRIBUTED = yaml.safe_load(MANIFEST.read_text())["contributions"]
COMMANDS = {command["id"]: command["python_name"] for command in CONTRIBUTED["commands"]}


@pytest.fixture
def manifest() -> PluginManifest:
    return PluginManifest.from_file(MANIFEST)


@pytest.fixture
def plugins(npe2pm: PluginManager, manifest: PluginManifest) -> PluginManager:
    npe2pm.register(manifest)
    return npe2pm


def references() -> list[str]:
    """Every command that something else in the manifest names."""
    lists = [CONTRIBUTED[point] for point in ("readers", "writers", "sample_data", "widgets")]
    return [entry["command"] for entries in [*lists, *CONTRIBUTED["menus"].values()] for entry in entries]


def test_installed_package_declares_this_manifest(manifest: PluginManifest) -> None:
    assert PluginManifest.from_distribution(PLUGIN).contributions == manifest.contributions


def test_top_level_manifest_leads_to_the_package_s() -> None:
    """A link, or where a checkout has none, as on most Windows machines, a file with the link's text."""
    link = TOP_LEVEL.is_symlink()
    target = TOP_LEVEL.readlink().as_posix() if link else TOP_LEVEL.read_text(encoding="utf-8")
    assert target == "src/napari_inr_volume/napari.yaml"
    assert (TOP_LEVEL.parent / target).samefile(MANIFEST)


def test_no_contribution_is_misspelt() -> None:
    assert set(CONTRIBUTED) <= set(ContributionPoints.model_fields)


@pytest.mark.parametrize("command", references())
def test_command_that_is_referred_to_exists(command: str) -> None:
    assert command in COMMANDS


def test_every_command_is_used_and_named_after_the_plugin() -> None:
    assert set(COMMANDS) == set(references())
    assert all(command.startswith(f"{PLUGIN}.") for command in COMMANDS)
    assert len(COMMANDS) == len(CONTRIBUTED["commands"])


@pytest.mark.parametrize("python_name", COMMANDS.values())
def test_python_name_resolves_to_something_that_can_be_called(python_name: str) -> None:
    module, _, name = python_name.partition(":")
    assert module.split(".")[1] in ("plugin", "widgets")
    assert callable(getattr(import_module(module), name))


@pytest.mark.parametrize("menu", CONTRIBUTED["menus"])
def test_napari_shows_what_is_contributed_to_the_menu(menu: str) -> None:
    assert menu in {str(each) for each in MenuId.contributables()}


@pytest.mark.parametrize("name", ["x.inr", "x.INR", "my.old.scan.inr"])
def test_inr_files_are_claimed(plugins: PluginManager, tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    (reader,) = plugins.iter_compatible_readers(str(tmp_path / name))
    assert reader.command == f"{PLUGIN}.get_inr_reader"


def test_folders_and_dicom_files_are_claimed_and_others_are_not(
    plugins: PluginManager, tmp_path: Path
) -> None:
    names = ("x.dcm", "x.DICOM", "x.IMA", "x.zip", "IM0001", "00000012", "DICOMDIR")
    for path in (tmp_path, *(tmp_path / name for name in names)):
        (reader,) = plugins.iter_compatible_readers(str(path))
        assert reader.command == f"{PLUGIN}.get_dicom_reader"
    for name in ("x.tif", "x.png", "x.npy", "IM.txt"):
        assert list(plugins.iter_compatible_readers(str(tmp_path / name))) == []


@pytest.mark.parametrize("suffix", VOLUMES)
def test_volumes_in_other_files_are_claimed(plugins: PluginManager, tmp_path: Path, suffix: str) -> None:
    for name in (f"x{suffix}", f"my.scan{suffix.upper()}"):
        (reader,) = plugins.iter_compatible_readers(str(tmp_path / name))
        assert reader.command == f"{PLUGIN}.get_volume_reader"


def test_writer_of_several_layers_is_called_with_a_list(plugins: PluginManager) -> None:
    """npe2 calls a writer of at most one layer as (path, data, meta), others as (path, layers)."""
    most = {
        writer.command: sum(each.max() for each in writer.layer_type_constraints())
        for count in (1, 2)
        for writer in plugins.iter_compatible_writers(["image"] * count)
    }
    assert most == {f"{PLUGIN}.write_layer": 1, f"{PLUGIN}.write_layers": 4}


def test_widgets_are_named_as_the_docs_name_them(plugins: PluginManager) -> None:
    names = [widget.display_name for widget in plugins.iter_widgets()]
    assert names == ["Compress (INR)", "INR file", "Codec comparison", "Batch"]


def test_menus_name_the_keys_that_the_panel_binds() -> None:
    entries = {each["command"] for each in CONTRIBUTED["menus"]["napari/layers/visualize"]}
    titles = {command["id"]: command["title"] for command in CONTRIBUTED["commands"]}
    assert entries == {f"{PLUGIN}.{name}" for name in KEYS}
    for name, key in KEYS.items():
        spelt = key.replace("Control", "Ctrl").replace("-", "+")
        assert titles[f"{PLUGIN}.{name}"].endswith(f" ({spelt})")


def test_sample_data_are_offered(plugins: PluginManager) -> None:
    ((_, samples),) = plugins.iter_sample_data()
    assert [sample.display_name for sample in samples] == ["CT head phantom", "CT head phantom as .inr"]
