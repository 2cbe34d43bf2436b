"""What the package shows, and what importing it costs."""

import subprocess
import sys

import pytest

import captum_ssvep

HEAVY = ("torch", "torchvision", "scipy.stats", "matplotlib", "torch._dynamo")


def imported_by(statement):
    """Which of the heavy modules a fresh process has after a statement."""
    script = f"import sys\n{statement}\nprint(*[m for m in {HEAVY} if m in sys.modules])"
    finished = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    return finished.stdout.splitlines()[-1].split()


def test_dir_shows_the_rooms_and_what_most_people_need():
    assert dir(captum_ssvep) == sorted(captum_ssvep.__all__)
    assert all(getattr(captum_ssvep, name) is not None for name in dir(captum_ssvep))
    with pytest.raises(AttributeError, match="no attribute 'TagingDesign'"):
        _ = captum_ssvep.TagingDesign


def test_names_at_the_top_are_those_of_the_rooms():
    assert captum_ssvep.TaggingDesign is captum_ssvep.design.TaggingDesign
    assert captum_ssvep.to_map is captum_ssvep.visualization.to_map
    assert captum_ssvep.scores.significance.SNR_THRESHOLDS[0.05] == 2.33
    assert "amplitude" in captum_ssvep.spectrum.statistics.STATISTICS


@pytest.mark.parametrize("flag", ["--help", "--version", "run --help"])
def test_the_command_line_answers_without_torch(flag):
    call = f"from captum_ssvep.cli import main\ntry: main({flag.split()})\nexcept SystemExit: pass"
    assert imported_by(call) == []


def test_tagging_alone_imports_no_more_than_captum():
    captum = imported_by("import captum.attr")
    assert imported_by("from captum_ssvep import FrequencyTaggingAttribution") == captum


def test_choosing_a_design_takes_numpy_alone():
    assert imported_by("from captum_ssvep import choose_design; choose_design(2)") == []
