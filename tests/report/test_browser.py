"""Pages work in a real browser: by mouse, by keyboard, on a phone, in the dark and on paper."""

import shutil

import mne
import pytest
import torch
from matplotlib.colors import to_rgb
from pages import (
    circuit,
    dark_then_digit,
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

from captum_ssvep.report import report_section, write_report
from captum_ssvep.visualization.style import PART_COLORS

api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.usefixtures("one_thread"),
]


@pytest.fixture(scope="module")
def browser():
    with api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


def thirds():
    """The upper, middle and lower third of a digit."""
    return (3 * torch.arange(32) // 32)[:, None].expand(32, 32)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """The files of all kinds of pages."""
    folder = tmp_path_factory.mktemp("pages")
    images = digits()[1]
    evil, its_images = evil_spectrum()
    pages = {
        "spectrum": (spectrum(2), {"images": images}),
        "layers": (several_layers(), {"images": images[:1]}),
        "nine parts": (nine_parts()[0], {"images": images[:1], "feature_mask": nine_parts()[1]}),
        "scores": (scores(), {"images": some_data()}),
        "circuit": (circuit(), {"images": some_data()}),
        "evil": (evil, {"images": its_images}),
        "dark": (dark_then_digit()[0], {"images": dark_then_digit()[1]}),
        "odd": ([*odd_spectra().values()], {}),
        "three parts": (three_parts(), {"images": digits()[1][:1], "feature_mask": thirds()}),
    }
    made = {
        name: write_report(folder / f"{name}.html", results, **arguments)
        for name, (results, arguments) in pages.items()
    }
    report = mne.Report(title="Both", verbose="error")
    report.add_html(report_section(spectrum(2), images=images), title="Network")
    report.add_html(report_section(scores(), images=some_data()), title="Scores")
    made["mne"] = folder / "mne.html"
    report.save(made["mne"], open_browser=False, verbose="error")
    return made


@pytest.fixture
def opened(browser, paths):
    """Opens a page; complains afterwards about errors, and about requests that leave it."""
    troubles, pages = [], []

    def open_page(name, width=1280, **options):
        page = browser.new_page(
            viewport={"width": width, "height": 900}, **{"reduced_motion": "reduce", **options}
        )
        page.set_default_timeout(60_000)
        page.on("console", lambda message: troubles.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("dialog", lambda dialog: troubles.append(f"dialog {dialog.message}"))
        page.on("request", lambda request: troubles.extend(leaving(request.url)))
        page.goto(paths[name].as_uri())
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert not troubles


def leaving(url):
    return [] if url.startswith(("file:", "data:", "blob:")) else [url]


def wait_until(page, happens, seconds=60):
    """Waits for a condition from outside: the page's policy forbids to evaluate texts."""
    for _ in range(10 * seconds):
        if happens():
            return
        page.wait_for_timeout(100)
    raise AssertionError("it did not happen")


def moment(page):
    return int(page.locator(".moment").input_value())


def column(page, place):
    return page.locator(f".sortable tbody tr > :nth-child({place + 1})").all_inner_texts()


def chosen(page):
    return page.locator(".sortable tr[aria-current] th").inner_text()


@pytest.mark.parametrize(
    "name", ["spectrum", "layers", "nine parts", "scores", "circuit", "evil", "odd"]
)
@pytest.mark.parametrize("width", [390, 1280])
def test_pages_fit_any_width_without_errors(opened, name, width):
    page = opened(name, width)
    page.wait_for_selector(".node" if name == "circuit" else ".stem")
    assert page.locator(".chart.spectrum:empty").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_sections_work_within_a_report_of_mne(opened):
    page = opened("mne")
    page.wait_for_selector(".ssvep .stem")
    assert page.locator(".ssvep[data-started]").count() == 2
    first, second = page.locator(".ssvep .chosen").all()
    second_before = second.inner_text()
    row = page.locator(".ssvep").first.locator(".sortable tbody tr").nth(4)
    row.click()
    assert row.locator("th").inner_text() in first.inner_text()
    assert second.inner_text() == second_before


def test_a_click_on_a_head_sorts_and_a_second_turns_it_round(opened):
    page = opened("spectrum")
    head = page.locator(".sortable thead th").nth(1)
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    values = [float(text) for text in column(page, 1)]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) > 10
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert column(page, 1)[0] == min(column(page, 1), key=float)
    assert page.locator("[aria-sort]").count() == 1


def test_the_keyboard_sorts_and_chooses(opened):
    page = opened("spectrum")
    page.locator(".sortable thead button").first.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.locator(".sortable thead th").nth(1).get_attribute("aria-sort") == "descending"
    rows = page.locator(".sortable tbody tr th")
    third = rows.nth(2).inner_text()
    rows.first.locator("button").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert chosen(page) == third
    assert f"channel {third}" in page.locator(".chosen").inner_text()
    assert page.evaluate("document.activeElement.textContent") == third


def test_lines_name_their_component_on_hover(opened):
    page = opened("spectrum")
    readout = page.locator(".spectrum + .readout")
    for label in ("f1", "f1 + f2", "3f1"):
        # Forced, since the line lies above what catches the mouse.
        page.locator(f'.stem[data-component="{label}"] .hit').hover(force=True)
        assert readout.inner_text().startswith(f"{label} = ")
    assert page.locator(".stem.near").count() == 1


def test_lines_name_their_component_on_keyboard_focus(opened):
    page = opened("spectrum")
    page.locator(".statistic").focus()
    page.keyboard.press("Tab")
    readout = page.locator(".spectrum + .readout")
    names = [page.evaluate("document.activeElement.dataset.component")]
    page.keyboard.press("Home")
    for _ in range(3):
        names.append(page.evaluate("document.activeElement.dataset.component"))
        assert readout.inner_text().startswith(f"{names[-1]} = ")
        label = page.evaluate("document.activeElement.getAttribute('aria-label')")
        assert label == readout.inner_text()
        page.keyboard.press("ArrowRight")
    assert names[1:] == ["f2 - f1", "2f1 - f2", "2f2 - 2f1"] or len(set(names[1:])) == 3
    # Only one line is reached by Tab.
    assert page.locator('.stem[tabindex="0"]').count() == 1


def test_the_spectrum_is_that_of_the_chosen_channel(opened):
    page = opened("spectrum")
    result = spectrum(2)
    page.locator(".search").fill("7")
    page.locator(".sortable tbody tr").first.click()
    words = page.locator('.stem[data-component="f1 + f2"]').get_attribute("aria-label")
    expected = result.lines[result.components.index((1, 1)), 0, 7].mean().abs().item() / 120
    assert float(words.split(": ")[1]) == pytest.approx(expected, rel=6e-3)
    page.locator(".example").select_option("1")
    words = page.locator('.stem[data-component="f1 + f2"]').get_attribute("aria-label")
    expected = result.lines[result.components.index((1, 1)), 1, 7].mean().abs().item() / 120
    assert float(words.split(": ")[1]) == pytest.approx(expected, rel=6e-3)


def test_the_table_finds_and_filters(opened):
    page = opened("spectrum")
    assert len(column(page, 0)) == 48
    page.locator(".search").fill("12")
    assert column(page, 0) == ["12"]
    page.locator(".search").fill("")
    page.locator(".which").select_option(label="Need both (AND)")
    index = (spectrum(2).and_or_index, page.locator(".found").inner_text())[1]
    values = [float(text) for text in column(page, 5)]
    assert min(values) >= 0.1
    assert index == f"{len(values)} of 48"


def test_scores_filter_by_layer(opened):
    page = opened("scores")
    page.locator(".group").select_option(label="layer1")
    assert set(column(page, 1)) == {"layer1"}
    assert len(column(page, 0)) == 16


def test_maps_turn_to_the_chosen_channel(opened):
    page = opened("spectrum")
    over = page.locator(".map .over").first
    before = over.get_attribute("src")
    page.locator(".maps-of label").nth(1).click()
    one = over.get_attribute("src")
    assert one != before
    page.locator(".sortable tbody tr").nth(5).click()
    assert over.get_attribute("src") != one
    page.locator(".maps-of label").first.click()
    assert over.get_attribute("src") == before


def test_what_is_absent_has_no_map_and_no_number(opened):
    page = opened("dark")
    over = page.locator(".map .over")
    assert over.count() == 3
    assert not over.first.is_visible()
    assert page.locator(".largest").first.inner_text() == "no response"
    assert set(column(page, 1)) == {"\N{EN DASH}"}
    page.locator(".example").select_option("1")
    assert over.first.is_visible()
    assert page.locator(".largest").first.inner_text().startswith("up to ")
    page.locator(".maps-of label").nth(1).click()
    assert over.first.is_visible()
    page.locator(".example").select_option("0")
    assert not over.first.is_visible()
    assert page.locator(".largest").first.inner_text() == "no response"


def test_the_legend_names_each_kind_of_component_once(opened):
    parts = ["harmonics of part 0 (f1 = 6 Hz)", "harmonics of part 1 (f2 = 7.5 Hz)"]
    legend = ".legend.marks li"
    page = opened("spectrum")
    assert page.locator(legend).all_inner_texts() == [*parts, "intermodulations"]
    assert opened("nine parts").locator(legend).all_inner_texts()[-1] == "intermodulations"
    assert opened("nine parts").locator(legend).count() == 2


def test_the_pair_of_parts_is_chosen(opened):
    page = opened("three parts")
    heads = page.locator(".sortable thead th")
    assert heads.nth(1).inner_text().strip() == "f2"
    chosen_parts = page.locator(".pair-name")
    assert chosen_parts.inner_text() == "1 and 2"
    before = column(page, 3)
    page.locator("select.parts").select_option(label="0 and 1")
    assert heads.nth(1).inner_text().strip() == "f1"
    assert chosen_parts.inner_text() == "0 and 1"
    assert column(page, 3) != before
    heads.nth(2).locator("button").click()
    assert heads.nth(2).get_attribute("aria-sort") == "descending"


REGION = """([x, y]) => [
    ...document.querySelector(".regions").getContext("2d").getImageData(x, y, 1, 1).data
]"""


def test_parts_are_drawn_where_they_are(opened):
    page = opened("three parts")
    wait_until(page, lambda: page.evaluate(REGION, [5, 5])[3] == 255, seconds=10)
    found = [tuple(page.evaluate(REGION, [5, y])) for y in (5, 80, 155)]
    expected = [tuple(round(255 * level) for level in to_rgb(c)) for c in PART_COLORS[:3]]
    assert [color[:3] for color in found] == expected


def test_curves_of_a_long_design_show_a_second_at_a_time(opened):
    page = opened("three parts")
    assert "The curves show 1 s of the design at a time" in page.locator(".film").inner_text()
    path = page.locator(".curves .curve").nth(2)
    before = path.get_attribute("d")
    assert before.count("L") < 130
    page.locator(".moment").focus()
    page.keyboard.press("End")
    assert path.get_attribute("d") != before
    assert "The curves show" not in opened("spectrum").locator(".film").inner_text()


def test_a_narrow_table_says_that_it_scrolls(opened):
    hint = opened("three parts", 390).locator(".hint")
    hint.wait_for(state="visible")
    wide = opened("three parts", 1280)
    wide.wait_for_selector(".stem")
    assert not wide.locator(".hint").is_visible()


def test_mixed_rows_say_so_instead_of_a_number(opened):
    page = opened("spectrum")
    page.locator(".which").select_option(label="Mixed")
    assert set(column(page, 5)) == {"mixed"}
    page.locator(".sortable tbody tr").first.click()
    assert "Neither AND nor OR" in page.locator(".together-caption").inner_text()


def test_charts_keep_their_size_in_a_report_of_mne(opened):
    page = opened("mne")
    page.wait_for_selector(".ssvep .stem")
    page.add_style_tag(content="svg { height: 60%; } p { font-weight: 300; }")
    assert page.locator(".ssvep .chart.spectrum svg").first.bounding_box()["height"] >= 240
    sign = page.locator(".ssvep .legend.marks .sign").first.bounding_box()
    assert sign["width"] == pytest.approx(sign["height"])
    assert 11 < sign["height"] < 15


def test_the_contrast_response_is_read_by_arrow_keys(opened):
    page = opened("spectrum")
    page.locator(".contrast svg").focus()
    page.keyboard.press("Home")
    assert page.locator(".contrast + .readout").inner_text().startswith("At contrast 0.5:")
    page.keyboard.press("End")
    assert page.locator(".contrast + .readout").inner_text().startswith("At contrast 1:")


PIXELS = """([x, y, width, height]) => [
    ...document.querySelector(".film canvas").getContext("2d")
        .getImageData(x, y, width, height).data
]"""


def frame(page):
    return page.evaluate(PIXELS, [0, 0, 32, 32])


def test_the_stimulus_plays_and_pauses(opened):
    page = opened("spectrum", reduced_motion="no-preference")
    button = page.locator(".play")
    assert button.inner_text() == "Pause"
    wait_until(page, lambda: moment(page) > 5)
    button.click()
    assert button.inner_text() == "Play"
    page.wait_for_timeout(100)
    before = frame(page)
    page.wait_for_timeout(400)
    assert frame(page) == before


def test_the_stimulus_rests_where_people_ask_for_less_motion(opened):
    page = opened("spectrum")
    page.wait_for_selector(".stem")
    assert page.locator(".play").inner_text() == "Play"
    page.wait_for_timeout(300)
    assert moment(page) == 0
    page.locator(".play").click()  # of their own will they may
    wait_until(page, lambda: moment(page) > 2)


def test_frames_are_those_of_the_design(opened):
    page = opened("spectrum")
    design, image = spectrum(2).design, digits()[1][0, 0]
    step = "(slider, at) => { slider.value = at; slider.dispatchEvent(new Event('input')); }"
    for at in (0, 10, 37):
        page.locator(".moment").evaluate(step, at)
        for x in (12, 19):
            expected = 255 * image[16, x].item() * design.contrasts[at][int(x >= 16)]

            def is_shown(x=x, expected=expected):
                return abs(page.evaluate(PIXELS, [x, 16, 1, 1])[0] - expected) < 2

            wait_until(page, is_shown, seconds=10)


def test_light_and_dark(opened):
    background = "getComputedStyle(document.body).backgroundColor"
    light = opened("spectrum", color_scheme="light")
    dark = opened("spectrum", color_scheme="dark")
    bright, night = light.evaluate(background), dark.evaluate(background)
    assert bright != night
    light.locator(".theme").click()
    assert light.evaluate(background) == night
    dark.locator(".theme").click()
    assert dark.evaluate(background) == bright


def test_paper_is_white_and_has_no_controls(opened):
    page = opened("spectrum", color_scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator(".play").is_visible()
    assert not page.locator(".theme").is_visible()
    assert page.locator(".stem").first.is_visible()
    assert page.locator(".sortable tbody tr:visible").count() == 20
    assert len(page.pdf()) > 10_000


def test_a_node_of_a_circuit_tells_its_weights(opened):
    page = opened("circuit")
    wait_until(page, lambda: page.locator(".edges path").count() == 3)
    page.locator(".node").nth(1).focus()
    words = page.locator(".readout").inner_text()
    assert "channel 7" in words
    assert "\N{MINUS SIGN}0.30" in words
    assert page.locator(".edges path.lit").count() == 1
    page.locator(".node").first.hover()
    assert "upper <b>bows</b>" in page.locator(".readout").inner_text()


def test_everything_that_can_be_pressed_has_a_name(opened):
    for name in ("spectrum", "scores", "circuit"):
        page = opened(name)
        nameless = page.evaluate(
            """() => [...document.querySelectorAll("button, select, input, [tabindex]")].filter(
                (e) => !(e.textContent.trim() || e.getAttribute("aria-label") || e.labels?.length)
            ).map((e) => e.outerHTML)"""
        )
        assert not nameless
