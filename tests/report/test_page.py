"""Pages hold what they promise, say where it came from, and run nothing that users wrote."""

import json
import re
import warnings
from itertools import pairwise

import mne
import pytest
import torch
import torchvision
from matplotlib import pyplot as plt
from pages import (
    EVIL,
    Page,
    circuit,
    digits,
    evil_spectrum,
    nine_parts,
    odd_spectra,
    scores,
    several_layers,
    some_data,
    spectrum,
    three_parts,
)
from torch.utils.data import DataLoader

from captum_ssvep import (
    ChebyshevGrid,
    FrequencyTaggingAttribution,
    TaggedSpectrum,
    TaggingDesign,
    TwoLevelDesign,
    tiles,
)
from captum_ssvep.report import report_section, write_report
from captum_ssvep.report.spectra import by_channel
from captum_ssvep.visualization.stimuli import GIF_FLICKER_RATE

pytestmark = pytest.mark.usefixtures("one_thread")


def data_of(text):
    (script,) = [s for s in Page(text).all("script") if s.get("type") == "application/json"]
    return json.loads(script["text"])


def page_of(results, tmp_path, **arguments):
    return write_report(tmp_path / "page.html", results, **arguments).read_text(encoding="utf-8")


RESULTS = {
    "spectrum": lambda: (spectrum(), {"images": digits()[1][:1]}),
    "two images": lambda: (spectrum(2), {"images": digits()[1]}),
    "layers": lambda: (several_layers(), {"images": digits()[1][:1]}),
    "nine parts": lambda: (
        nine_parts()[0],
        {"images": digits()[1][:1], "feature_mask": nine_parts()[1]},
    ),
    "scores": lambda: (scores(), {"images": some_data()}),
    "circuit": lambda: (circuit(), {"images": some_data()}),
    "odd": lambda: ([*odd_spectra().values()], {}),
    "without images": lambda: ([spectrum(), scores(), circuit()], {}),
}


@pytest.mark.parametrize("name", RESULTS)
def test_pages_are_whole_and_fetch_nothing(name, tmp_path):
    results, arguments = RESULTS[name]()
    text = page_of(results, tmp_path, **arguments)
    page = Page(text)
    (policy,) = [m for m in page.all("meta") if "http-equiv" in m]
    assert policy["content"].startswith("default-src 'none'; img-src data:;")
    for element in page.elements:
        for key in ("src", "href", "action", "poster", "data"):
            assert element.get(key, "data:").startswith("data:"), element
    style = "".join(s["text"] for s in page.all("style"))
    assert "url(" not in style
    assert "@import" not in style
    assert len(text) < 3_000_000
    assert not plt.get_fignums()


@pytest.mark.parametrize("name", RESULTS)
def test_pages_can_be_read_by_everyone(name, tmp_path):
    results, arguments = RESULTS[name]()
    page = Page(page_of(results, tmp_path, **arguments))
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("h1")) == 1
    assert all(image["alt"] for image in page.all("img"))
    assert all(button["type"] == "button" for button in page.all("button"))
    levels = [int(e["tag"][1]) for e in page.elements if re.fullmatch("h[1-6]", e["tag"])]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    labels = "".join(label["text"] for label in page.all("label"))
    if page.all("select"):
        assert "Which" in labels


def test_numbers_are_those_of_the_spectrum(tmp_path):
    network, images = digits()
    pooled = FrequencyTaggingAttribution(network, "layer3").spectrum(images, pooling="channel")
    (result,) = data_of(page_of(spectrum(2), tmp_path, images=images))["results"]
    assert result["names"] == [str(channel) for channel in range(48)]
    labels = [component["label"] for component in result["components"]]
    for component in ((1, 0), (1, 1), (2, -1)):
        row = labels.index(pooled.design.label(component))
        for image in range(2):
            shown = torch.tensor(result["examples"][image]["coefficient"][row])
            expected = pooled.coefficient(component)[image]
            torch.testing.assert_close(shown, expected, rtol=1e-3, atol=1e-6)
    index = [
        v if v is not None else torch.nan for v in result["examples"][1]["choices"][0]["and_or"]
    ]
    torch.testing.assert_close(
        torch.tensor(index), pooled.and_or_index((0, 1))[1], rtol=1e-3, atol=1e-3, equal_nan=True
    )
    contrasts, response = pooled.contrast_response(1, 13)
    shown = torch.tensor(result["examples"][0]["responses"][1])
    torch.testing.assert_close(shown, response[:, 0].T, rtol=1e-3, atol=1e-5)
    assert result["examples"][0]["contrasts"] == pytest.approx(contrasts.tolist(), rel=1e-3)


def test_the_legend_has_one_entry_for_each_kind_of_line(tmp_path):
    (result,) = data_of(page_of(spectrum(1), tmp_path))["results"]
    assert {component["kind"] for component in result["components"]} == {
        "harmonics of part 0 (f1 = 6 Hz)",
        "harmonics of part 1 (f2 = 7.5 Hz)",
        "intermodulations",
    }


def test_the_legend_has_intermodulations_where_tags_share_harmonics(tmp_path):
    network, images = digits()
    design = TaggingDesign(frequencies=(5.0, 8.0))
    result = FrequencyTaggingAttribution(network, "layer3").spectrum(images[:1], design=design)
    (block,) = data_of(page_of(result, tmp_path))["results"]
    kinds = [component["kind"] for component in block["components"]]
    assert kinds.count("intermodulations") > 2
    assert len(set(kinds)) == 3


def test_the_share_of_what_parts_do_together_is_that_of_the_mean_of_a_channel(tmp_path):
    network, images = digits()
    pooled = FrequencyTaggingAttribution(network, "layer3").spectrum(images[:1], pooling="channel")
    expected = pooled.interaction((0, 1))[0]
    for result in (spectrum(), pooled):
        (block,) = data_of(page_of(result, tmp_path))["results"]
        shown = torch.tensor(block["examples"][0]["together"])
        # All but the components that were not read.
        torch.testing.assert_close(shown, expected, rtol=0, atol=0.01)
    assert expected.max() > 0.1


def corners_spectrum(*functions):
    """Neurons that respond to the contrasts of two parts by functions."""
    design = TwoLevelDesign(2)
    one, two = torch.as_tensor(design.contrasts).T
    one, two = 2 * one - 1, 2 * two - 1
    responses = torch.stack([f(one, two) for f in functions], 1)
    return TaggedSpectrum.from_series(responses[:, None], design)


def test_what_is_neither_and_nor_or_is_mixed(tmp_path):
    result = corners_spectrum(
        torch.minimum, torch.maximum, torch.add, lambda a, b: (a - b).abs(), lambda a, b: a - b,
        lambda a, b: (a - 0.6 * b).clamp(min=0), lambda a, b: 0 * a,
    )  # fmt: skip
    (block,) = data_of(page_of(result, tmp_path))["results"]
    (example,) = block["examples"]
    assert example["choices"][0]["mixed"] == [0, 0, 0, 1, 1, 1, 0]
    percent = {kind["name"]: kind["percent"] for kind in example["choices"][0]["kinds"]}
    assert sum(percent.values()) == pytest.approx(100, abs=0.1)
    for name, n in {
        "mixed: raised and lowered": 3,
        "no response": 1,
        "OR-like: below -0.5": 1,
    }.items():
        assert percent[name] == pytest.approx(100 * n / 7, abs=0.01)


def test_neurons_pool_to_the_spectrum_of_channels():
    network, images = digits()
    pooled = FrequencyTaggingAttribution(network, "layer3").spectrum(images, pooling="channel")
    torch.testing.assert_close(
        by_channel(spectrum(2)).amplitude((1, 1)), pooled.amplitude((1, 1)), rtol=1e-4, atol=1e-6
    )


def test_no_part_flickers_twice_a_second(tmp_path):
    design = TaggingDesign(frequencies=(6.0, 13.0))
    network, images = digits()
    tagging = FrequencyTaggingAttribution(network, "fc")
    fast = tagging.spectrum(images[:1], design=design)
    (film,) = data_of(page_of(fast, tmp_path, images=images[:1]))["films"]
    contrasts, seconds = torch.tensor(film["contrasts"]), film["seconds"]
    rises = (contrasts[1:] >= 0.75) & (contrasts[:-1] < 0.75)
    per_second = rises.sum(0) / (len(contrasts) * seconds)
    assert per_second.max() <= 2
    assert GIF_FLICKER_RATE < 2
    assert film["slowing"] == pytest.approx(13 / GIF_FLICKER_RATE)


def test_maps_are_of_layers_with_space_alone(tmp_path):
    images = digits()[1][:1]
    blocks = data_of(page_of([spectrum(), several_layers()[2]], tmp_path, images=images))["results"]
    assert [block["maps"] is not None for block in blocks] == [True, False]
    fc = data_of(page_of(spectrum(), tmp_path))["results"]
    assert fc[0]["maps"] is None
    channels = blocks[0]["maps"]["channels"]
    assert (channels["height"], channels["width"]) == (8, 8)


@pytest.mark.parametrize("make", [write_report, report_section])
def test_texts_of_users_do_nothing(make, tmp_path):
    evil, images = evil_spectrum()
    arguments = {
        "images": images,
        "title": EVIL,
        "facts": {EVIL: EVIL},
        "caught": [EVIL],
    }
    labeled = circuit().labeled({"layer1:7": EVIL})
    results, images = [evil, labeled], [images, some_data()]
    if make is write_report:
        text = page_of(results, tmp_path, **{**arguments, "images": images})
    else:
        text = report_section(results, **{**arguments, "images": images})
    page = Page(text)
    assert len(page.all("script")) == 2
    assert "alert(1)" not in "".join(s["text"] for s in page.all("script")[1:])
    assert not any(key.startswith("on") for element in page.elements for key in element)
    assert EVIL in " ".join(e["text"] for e in page.elements if e["tag"] in ("h1", "h2"))
    assert data_of(text)["results"][0]["layer"] == EVIL


@pytest.mark.parametrize(
    ("design", "said", "unsaid"),
    [
        (TaggingDesign(), {"Contrast response", "Component", "Together"}, {"Score", "p", "Weight"}),
        (TwoLevelDesign(2), {"Component", "Together"}, {"Contrast response", "Score", "p"}),
    ],
)
def test_only_what_the_page_shows_is_explained(design, said, unsaid, tmp_path):
    network, images = digits()
    shown = FrequencyTaggingAttribution(network, "layer3").spectrum(images[:1], design=design)
    page = Page(page_of(shown, tmp_path, images=images[:1]))
    terms = {term["text"] for term in page.all("dt")}
    assert said <= terms
    assert not unsaid & terms
    # Without time nothing flickers at a frequency.
    assert ("flickers" in page.all("main")[0]["text"]) == design.in_time


def test_many_lines_and_images_leave_fewer_rows_which_is_said(tmp_path):
    network = torch.nn.Conv2d(1, 512, 3, stride=5)
    images = torch.rand(4, 1, 15, 15, generator=torch.Generator().manual_seed(0))
    mask = tiles(images.shape, 5, 5)
    tagging = FrequencyTaggingAttribution(torch.nn.Sequential(network).eval(), "0")
    shown = tagging.spectrum(images, design=TwoLevelDesign(25), feature_mask=mask)
    text = page_of(shown, tmp_path, images=images, feature_mask=mask)
    (block,) = data_of(text)["results"]
    n_rows = len(block["names"])
    assert 20 < n_rows < 512
    assert f"the {n_rows} channels of 512 that respond most" in text
    assert len(block["examples"][0]["pairs"]) == 300
    assert 1_500_000 < len(text) < 3_000_000


def test_more_parts_than_a_picture_tells_apart_are_refused(tmp_path):
    images = torch.rand(1, 1, 16, 16)
    design, mask = TwoLevelDesign(256, max_order=1), tiles(images.shape, 16, 16)
    tagging = FrequencyTaggingAttribution(torch.nn.Sequential(torch.nn.Flatten()).eval(), "0")
    shown = tagging.spectrum(images, design=design, feature_mask=mask)
    with pytest.raises(ValueError, match="at most 255 parts, but got 256; leave out `images`"):
        page_of(shown, tmp_path, images=images, feature_mask=mask)
    assert len(page_of(shown, tmp_path)) < 3_000_000


def test_the_page_says_where_results_came_from(tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.warn("weights are random", UserWarning)
        design = TaggingDesign(frequencies=(6.0, 12.0))
    assert len(caught) == 2
    network, images = digits()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        colliding = FrequencyTaggingAttribution(network, "fc").spectrum(images[:1], design=design)
    text = page_of(
        colliding, tmp_path, facts={"Network": "digits", "Seed": 7}, caught=caught[:1], title="Mine"
    )
    words = Page(text).all("body")[0]["text"]
    for expected in (
        "weights are random",
        str(caught[1].message),
        "6, 12",
        torch.__version__,
        "Network",
        "Seed",
        "tags 6, 12 Hz",
    ):
        assert expected in words, expected
    assert Page(text).all("title")[0]["text"] == "Mine"


def test_warnings_while_the_page_is_made_are_on_it_and_given(tmp_path):
    design = TaggingDesign()
    late = torch.as_tensor(design.contrasts).roll(5, 0)[:, None]
    delayed = TaggedSpectrum.from_series(late, design)
    with pytest.warns(UserWarning, match="without delay"):
        text = page_of(delayed, tmp_path)
    assert "without delay" in Page(text).all("main")[0]["text"]


def test_recordings_are_shown_as_the_mean_over_trials(tmp_path):
    design = TaggingDesign()
    info = mne.create_info(["Oz", "Pz"], 120, "eeg", verbose="error")
    noise = torch.randn(6, 2, 240, generator=torch.Generator().manual_seed(0))
    volts = 1e-6 * (noise + torch.as_tensor(design.contrasts).T)
    recording = TaggedSpectrum.from_mne(mne.EpochsArray(volts, info, verbose="error"), design)
    (block,) = data_of(page_of(recording, tmp_path))["results"]
    assert block["names"] == ["Oz", "Pz"]
    assert len(block["examples"]) == 1
    expected = recording.lines.mean(1)[recording.components.index((1, 0))].abs() / 120
    row = [c["label"] for c in block["components"]].index("f1")
    shown = block["examples"][0]["amplitude"][row]
    assert shown == pytest.approx(expected.tolist(), rel=1e-3)
    # A delay would turn an AND into an OR.
    assert not block["curves"] + block["examples"][0]["pairs"]
    assert "and_or" not in [column["key"] for column in block["columns"]]


def test_the_pair_that_does_most_together_comes_first(tmp_path):
    result = three_parts()
    (block,) = data_of(page_of(result, tmp_path))["results"]
    assert [choice["parts"] for choice in block["choices"]] == [[1, 2], [0, 1], [0, 2]]
    labels = [column["label"] for column in block["choices"][0]["columns"]]
    assert labels[:2] == ["f2", "f3"]
    assert labels[2] in ("f2 + f3", "f3 - f2")
    for choice, found in zip(block["choices"], block["examples"][0]["choices"], strict=True):
        shown = [torch.nan if value is None else value for value in found["and_or"]]
        expected = result.and_or_index(choice["parts"])[0]
        torch.testing.assert_close(
            torch.tensor(shown), expected.float(), rtol=1e-3, atol=1e-3, equal_nan=True
        )


def test_the_finding_names_the_channel_that_combines_most(tmp_path):
    page = Page(page_of(three_parts(), tmp_path))
    (finding,) = [li["text"] for li in page.all("li") if li.get("class") == "finding"]
    energy = three_parts().reduce("intermodulations", "amplitude", "energy")[0]
    assert f"neuron {energy.argmax()} responds most at all intermodulations together" in finding
    assert "parts 1 and 2" in finding
    silent = TaggedSpectrum.from_series(torch.ones(240, 1, 2), TaggingDesign())
    assert "No neuron responds at intermodulations" in page_of(silent, tmp_path)


@pytest.mark.parametrize(
    ("caught", "said"),
    [
        (None, "none were handed over"),
        ([], "The run gave no warnings"),
        (["careful"], "Handed over with the results"),
    ],
)
def test_no_warnings_are_told_from_unknown_ones(caught, said, tmp_path):
    words = Page(page_of(spectrum(), tmp_path, caught=caught)).all("main")[0]["text"]
    everything = (
        "none were handed over",
        "The run gave no warnings",
        "Handed over with the results",
    )
    assert [text for text in everything if text in words] == [
        text for text in everything if text == said
    ]


def test_warnings_that_were_handed_over_are_not_repeated(tmp_path):
    network, images = digits()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        design = TaggingDesign(frequencies=(6.0, 12.0))
        colliding = FrequencyTaggingAttribution(network, "fc").spectrum(images[:1], design=design)
    page = Page(page_of(colliding, tmp_path, caught=caught))
    texts = [item["text"] for item in page.all("li")]
    assert len(caught) > 0
    for message in {str(warning.message) for warning in caught}:
        assert sum(message in text for text in texts) == 1


def test_images_have_the_names_that_were_given(tmp_path):
    images = digits()[1]
    page = Page(page_of(spectrum(2), tmp_path, images=images, image_names=["three", EVIL]))
    options = [option["text"] for option in page.all("option")]
    assert {"three", EVIL} <= set(options)
    assert "for image three" in page.all("header")[0]["text"]
    assert f"Images: three, {EVIL}" in page.all("header")[0]["text"]


def test_an_snr_above_one_is_not_called_a_component(tmp_path):
    words = Page(page_of(spectrum(), tmp_path)).all("main")[0]["text"]
    assert "a component is there" not in words
    assert "an alias of higher order" in words
    assert "off by a fifth" in words
    assert "mostly at their border" in words


@pytest.mark.parametrize("n_trials", [1, 2])
def test_trials_are_counted_where_there_are_several(n_trials, tmp_path):
    design = TaggingDesign()
    info = mne.create_info(["Oz"], 120, "eeg", verbose="error")
    volts = 1e-6 * torch.as_tensor(design.contrasts).T[None, :1].repeat(n_trials, 1, 1)
    recording = TaggedSpectrum.from_mne(mne.EpochsArray(volts, info, verbose="error"), design)
    words = Page(page_of(recording, tmp_path)).all("main")[0]["text"]
    assert ("the mean over 2 trials" in words) == (n_trials == 2)
    assert "1 trials" not in words
    assert "AND" not in words


def test_a_section_goes_into_a_report_of_mne(tmp_path):
    report = mne.Report(title="Both", verbose="error")
    report.add_html(report_section(spectrum(), images=digits()[1][:1]), title="Network")
    report.add_html(report_section(scores()), title="Scores")
    path = tmp_path / "mne.html"
    report.save(path, open_browser=False, verbose="error")
    assert path.read_text(encoding="utf-8").count('class="ssvep section"') == 2


def test_layers_of_one_film_share_it(tmp_path):
    content = data_of(page_of(several_layers(), tmp_path, images=digits()[1][:1]))
    assert len(content["films"]) == 1
    assert [block["film"] for block in content["results"]] == [0, 0, 0]


def test_layers_by_components_are_in_percent_of_the_largest(tmp_path):
    page = Page(page_of(scores(), tmp_path))
    cells = [float(cell["text"]) for cell in page.all("td") if "--shade" in cell.get("style", "")]
    means = scores().by_component["layer1"].mean(1)
    n = len(scores().components)
    assert cells[:n] == pytest.approx((100 * means / means.max()).tolist(), abs=0.51)


def test_scores_show_what_is_important(tmp_path):
    (block,) = data_of(page_of(scores(), tmp_path))["results"]
    counted = scores().count_important(alpha=0.05)
    assert {count["layer"]: count["found"] for count in block["counts"]} == counted
    flags = torch.cat([*scores().important(alpha=0.05).values()])
    assert block["examples"][0]["important"] == flags.int().tolist()
    assert len(block["names"]) == len(flags)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": torch.rand(3, 1, 32, 32)}, "`images` to be the 1 image of the spectrum, but"),
        (
            {"results": scores, "images": DataLoader(some_data())},
            "of a DataLoader pass its `dataset`",
        ),
        ({"images": torch.rand(32, 32)}, "`images` of shape"),
        ({"facts": ["seed"]}, "`facts` to be a mapping"),
        ({"caught": "careful"}, "`caught` to be a list of warnings"),
        ({"title": 3}, "`title` to be a text"),
        ({"image_names": ["a", "b"]}, "`image_names` to be 1 text, one for each image"),
        ({"image_names": "a"}, "`image_names` to be a list with the name of each image"),
        ({"results": []}, "`results` to hold at least one result"),
        ({"results": torch.rand(3)}, "`results` to be spectra, scores or circuits"),
    ],
)
def test_what_cannot_be_shown_is_refused(change, words, tmp_path):
    arguments = {"results": spectrum, **change}
    if callable(arguments["results"]):
        arguments["results"] = arguments["results"]()
    with pytest.raises((TypeError, ValueError), match=re.escape(words)):
        report_section(**arguments)


def test_layers_of_resnet18_stay_below_three_megabytes(tmp_path):
    network = torchvision.models.resnet18(num_classes=10).eval()
    image = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    tagging = FrequencyTaggingAttribution(network, ["layer1", "layer4"])
    for of_layer in tagging.spectrum(image, design=ChebyshevGrid()):
        text = page_of(of_layer, tmp_path, images=image)
        assert data_of(text)["results"][0]["maps"]["channels"]
        assert 200_000 < len(text) < 3_000_000
