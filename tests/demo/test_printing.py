"""What is printed ends with those who read it, and the run goes on."""

import os
import sys

import pytest

from captum_ssvep.demo.printing import in_options, say


def test_nobody_has_to_listen():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        say("to nobody", stream)
        say("and again", stream)


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_what_is_said_is_a_line(capsys, name):
    say("words", getattr(sys, name))
    assert getattr(capsys.readouterr(), name[3:]) == "words\n"


def test_other_warnings_stay():
    assert in_options("Something\nelse") == "Something else"
