"""The installed package: its public names, the cost of its import, its wheel and its metadata."""

import re
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import lightning_landscape

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "lightning", "pytorch_lightning", "torchmetrics", "matplotlib", "numpy", "tensorboard"}


def run(program):
    result = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel without an isolated environment, and so without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(*folder.glob("*.whl")) as archive:
        yield archive


@pytest.fixture(scope="module")
def metadata(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return message_from_bytes(wheel.read(name))


@pytest.fixture(scope="module")
def requirements(metadata):
    return {required.name: required for required in map(Requirement, metadata.get_all("Requires-Dist"))}


def test_importing_the_package_imports_neither_torch_nor_lightning_nor_matplotlib():
    loaded = run("import sys, lightning_landscape; print(*{name.partition('.')[0] for name in sys.modules})").split()
    assert "lightning_landscape" in loaded
    assert not HEAVY & set(loaded)


def test_cause_and_verdict_can_be_imported_without_torch():
    program = (
        "import sys; sys.modules['torch'] = None; from lightning_landscape import Cause, Verdict; print(Cause.SLOW)"
    )
    assert run(program) == "slow\n"


def test_every_public_name_can_be_imported():
    assert all(getattr(lightning_landscape, name) is not None for name in lightning_landscape.__all__)


def test_dir_lists_the_public_names_and_another_name_raises_an_attribute_error():
    assert dir(lightning_landscape) == sorted(lightning_landscape.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Landscape'"):
        _ = lightning_landscape.Landscape


def test_wheel_citation_and_changelog_have_the_version_of_the_package(metadata):
    version = lightning_landscape.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.?\w+)?", version)
    assert metadata["Version"] == version
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert version in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_wheel_contains_only_the_package_its_types_and_its_license(wheel):
    names = set(wheel.namelist())
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "lightning_landscape").rglob("*.py")}
    assert sources <= names
    assert "lightning_landscape/py.typed" in names
    pages = {f"causes/{page.name}" for page in (ROOT / "docs" / "causes").glob("*.md")} | {"warnings.md"}
    assert {f"lightning_landscape/docs/{page}" for page in pages} <= names  # `landscape explain` shows them
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"lightning_landscape"}
    assert not [name for name in names if "__pycache__" in name]


def test_the_wheel_has_the_command(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt"))
    assert "landscape = lightning_landscape.command_line:main" in wheel.read(name).decode()


def test_the_metadata_allow_exactly_the_supported_versions(metadata, requirements):
    assert metadata["Requires-Python"] == ">=3.10"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert "2.4.0" in requirements["torch"].specifier
    assert "9.0" in requirements["torch"].specifier  # lightning sets the upper bound
    assert "2.5.0" in requirements["lightning"].specifier
    assert "3.0.0" not in requirements["lightning"].specifier


def test_every_package_that_make_test_installs_is_pinned_to_an_allowed_version(metadata):
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    for required in map(Requirement, metadata.get_all("Requires-Dist")):
        if required.name == "lightning-landscape" or (
            required.marker and not required.marker.evaluate({"extra": "dev"})
        ):
            continue
        its_pins = [pin for pin in pins if pin.name == required.name]
        assert its_pins, f"{required.name} is not pinned in constraints.txt"
        for pin in its_pins:
            (exact,) = pin.specifier
            assert exact.operator == "=="
            assert exact.version in required.specifier


def test_torch_is_pinned_on_one_line_and_the_makefile_installs_it_first():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.startswith("torch==")]) == 1
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert recipe.index("'^torch=='") < recipe.index("--editable")
