"""Checks of an installed captum-ssvep; takes the path of the wheel that it was installed from."""

import subprocess
import sys
import tempfile
from importlib import metadata, resources
from pathlib import Path

import captum_ssvep
from captum_ssvep import FrequencyTaggingAttribution
from captum_ssvep.demo import digits
from captum_ssvep.report import report_section

DEMO = {"maps", "spectrum", "stimulus", "contrast"}

installed = resources.files("captum_ssvep")
assert Path(sys.prefix) in Path(captum_ssvep.__file__).parents, captum_ssvep.__file__
assert (installed / "py.typed").is_file()

_, in_wheel, *_ = Path(sys.argv[1]).name.split("-")
versions = {in_wheel, captum_ssvep.__version__, metadata.version("captum-ssvep")}
assert len(versions) == 1, versions

network = digits.load_network()
images, _ = digits.example_images()
snr = FrequencyTaggingAttribution(network, network.layer3).attribute(images)
assert snr.shape == (2, 48, 8, 8)
assert snr.isfinite().all()
assert snr.max() > 1

spectrum = FrequencyTaggingAttribution(network, network.layer3).spectrum(images)
assert "<canvas" in report_section(spectrum, images=images)

command = Path(sys.executable).with_name("captum-ssvep")
with tempfile.TemporaryDirectory() as out:
    subprocess.run([command, "demo", "--out", out], check=True, stdout=subprocess.DEVNULL)
    # Its templates and scripts are files of the package, too.
    assert "</html>" in Path(out, "report.html").read_text(encoding="utf-8")
    for digit in ("digit_3", "digit_8"):
        written = list(Path(out, digit).iterdir())
        assert {path.stem for path in written} == DEMO, written
        assert all(path.stat().st_size for path in written)

print(f"captum-ssvep {in_wheel} works as installed.")
