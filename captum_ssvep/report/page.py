"""The page: results as data, templates around them, and one file that needs no other."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from warnings import WarningMessage

from matplotlib.colors import to_hex, to_rgb
from torch import Tensor

from .._checks import count, file_path, image_batch, instance, shown, warn_user
from .._typing import Baselines, FeatureMask
from ..circuits import Circuit
from ..design import Design
from ..scores.batches import image_in
from ..scores.result import NeuronScores
from ..spectrum.tagged import TaggedSpectrum
from ..visualization.style import INTERMODULATION_COLOR, PART_COLORS
from .circuits import circuit_data
from .facts import design_facts, given_facts, given_warnings, of_design, recorded, versions
from .layers import layers_of_scores, layers_of_spectra
from .scores import scores_data
from .spectra import MOST_EXAMPLES, spectrum_data
from .stimulus import film

Result = TaggedSpectrum | NeuronScores | Circuit
# Share of white in the colors of a dark page, so that blue stands out.
LIGHTER = 0.35


def write_report(
    path: str | Path,
    results: Result | Sequence[Result],
    *,
    images: Any = None,
    feature_mask: FeatureMask = None,
    baselines: Baselines = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    title: str | None = None,
    facts: Mapping[str, object] | None = None,
    caught: Sequence[WarningMessage | Warning | str] | None = None,
    image_names: Sequence[str] | None = None,
) -> Path:
    """Write a page about results that a browser shows without anything else.

    It has the flickering stimulus in slow motion, maps over the image, the spectrum and the
    contrast response of the channel that the reader chooses in a table, AND and OR, layers by
    components, circuits with their crops, and how all of it came about. Nothing is fetched when it
    is read.

    Args:
        path (str or Path): Where to write the file.
        results (TaggedSpectrum, NeuronScores, Circuit or list of them): What to show. A spectrum
            without ``pooling`` also gives maps; its table then shows the means of channels.
        images (Tensor or Dataset, optional): For spectra the images that were tagged, shape
            ``(N, channels, height, width)``; for scores and circuits the data. For several results,
            also a list with an entry for each. Leave them out if something else flickered, as with
            ``tag_layer``. Default: None, no pictures of the stimulus, maps and crops
        feature_mask, baselines: As they were given to ``spectrum``, for the pictures.
            Default: left and right half, and 0
        mean, std (sequence of float, optional): Normalization of the images to undo. Default: none
        title (str, optional): Default: the names of the layers or of the target
        facts (mapping, optional): What the results do not hold and readers want to know, as
            ``{"network": "resnet18", "weights": "none", "seed": 0}``. Default: None
        caught (sequence of warnings, optional): Warnings that came up before, as
            ``warnings.catch_warnings(record=True)`` records them; results do not hold them. Those
            of the design and of the page itself are listed without. An empty list says that the
            run gave none. Default: None, not known
        image_names (sequence of str, optional): What the images of spectra are called, one for
            each. Default: their numbers

    Returns:
        Path: The file written.

    Raises:
        ValueError: If results, images and mask do not fit each other.
        TypeError: If an argument is of the wrong type.

    Examples::

        >>> import tempfile
        >>> from captum_ssvep import FrequencyTaggingAttribution
        >>> from captum_ssvep.demo.digits import example_images, load_network
        >>> images, network = example_images()[0][:1], load_network()
        >>> spectrum = FrequencyTaggingAttribution(network, "layer3").spectrum(images)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_report(f"{folder}/digit.html", spectrum, images=images)
        ...     path.stat().st_size < 3_000_000
        True
    """
    path = file_path(path)
    content, came_up = _content(
        results, images, feature_mask, baselines, mean, std, title, facts, caught, image_names
    )
    path.write_text(_template("page.html").render(content), encoding="utf-8")
    for message in came_up:
        warn_user(message)
    return path


def report_section(
    results: Result | Sequence[Result],
    *,
    images: Any = None,
    feature_mask: FeatureMask = None,
    baselines: Baselines = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    title: str | None = None,
    facts: Mapping[str, object] | None = None,
    caught: Sequence[WarningMessage | Warning | str] | None = None,
    image_names: Sequence[str] | None = None,
) -> str:
    """The content of `write_report` as a piece of HTML, which ``mne.Report.add_html`` takes.

    Args:
        results, images, feature_mask, baselines, mean, std, title, facts, caught, image_names: As
            in `write_report`.

    Returns:
        str: HTML with its own style and script; a page may hold several.

    Raises:
        ValueError, TypeError: As in `write_report`.

    Examples::

        >>> import mne
        >>> from captum_ssvep import TaggingDesign
        >>> design = TaggingDesign()
        >>> series = design.contrasts.prod(axis=1)[:, None, None]
        >>> section = report_section(TaggedSpectrum.from_series(series, design))
        >>> report = mne.Report(verbose="error")
        >>> report.add_html(section, title="Frequency tagging")
    """
    content, came_up = _content(
        results, images, feature_mask, baselines, mean, std, title, facts, caught, image_names
    )
    section: str = _template("section.html").render(content)
    for message in came_up:
        warn_user(message)
    return section


def _content(
    results: Any,
    images: Any,
    feature_mask: FeatureMask,
    baselines: Baselines,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    title: Any,
    facts: Any,
    caught: Any,
    image_names: Any,
) -> tuple[dict[str, Any], list[str]]:
    """What the templates show, and the warnings that came up while it was computed."""
    listed = _as_list(results)
    if title is not None:
        instance(title, str, "title", "a text")
    own_facts, before = given_facts(facts), given_warnings(caught)
    pictures = (feature_mask, baselines, mean, std)
    (blocks, films), came_up = recorded(
        lambda: _blocks(listed, _for_each(images, listed), *pictures, image_names)
    )
    designs = _designs(listed)
    again = [text for design, components in designs for text in of_design(design, components)]
    known = before or []
    content = {
        "title": title or _default_title(listed),
        "summary": [*map(_summary, listed), *_said_names(image_names)],
        "data": {"films": films, "results": blocks, "colors": _rgb()},
        "layers": _layers(listed),
        "facts": own_facts,
        "results": [*map(repr, listed)],
        "designs": [design_facts(design) for design, _ in designs],
        "versions": versions(),
        "warnings": {
            "before": before,
            "design": [text for text in dict.fromkeys(again) if text not in known],
            "page": [text for text in came_up if text not in known],
        },
        "terms": _terms(listed, blocks),
        "date": datetime.date.today().isoformat(),
        "colors": _colors(),
        "style": _file("report.css"),
        "script": _file("report.js"),
    }
    return content, came_up


def _terms(results: Sequence[Result], blocks: Sequence[Mapping[str, Any]]) -> set[str]:
    """What the page has to explain: kinds of results and designs, and columns of tables."""
    terms = {block["kind"] for block in blocks}
    tables = [block for block in blocks if block["kind"] != "circuit"]
    terms |= {column["key"] for table in tables for column in table["columns"]}
    terms |= {"contrast response" for table in tables if table["curves"]}
    designs = [result.design for result in results if not isinstance(result, Circuit)]
    return terms | {"in time" if design.in_time else "without time" for design in designs}


def _as_list(results: Any) -> list[Result]:
    """The results as a list.

    Raises:
        TypeError, ValueError: If they are something else, or none.
    """
    several = results if isinstance(results, (list, tuple)) else [results]
    expected = (
        "spectra, scores or circuits; `spectrum`, `score_neurons` or `build_circuit` makes one"
    )
    for result in several:
        instance(result, (TaggedSpectrum, NeuronScores, Circuit), "results", expected)
    if not several:
        raise ValueError("Expected `results` to hold at least one result, but got none")
    return [*several]


def _for_each(images: Any, results: Sequence[Result]) -> list[Any]:
    """The images of each result."""
    if isinstance(images, (list, tuple)) and len(images) == len(results) > 1:
        return [*images]
    return [images] * len(results)


def _blocks(
    results: Sequence[Result],
    images: Sequence[Any],
    feature_mask: FeatureMask,
    baselines: Baselines,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    image_names: Any,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The data of every result, and the films that they refer to by number."""
    blocks, films, known = [], [], []
    for result, data in zip(results, images, strict=True):
        if isinstance(result, Circuit):
            blocks.append(circuit_data(result, data, mean, std))
            continue
        batch, n_examples = _tagged_images(result, data)
        number = None
        if batch is not None:
            key = (id(data), result.design)
            if key not in known:
                known.append(key)
                films.append(
                    film(batch, result.design, feature_mask, baselines, mean, std, n_examples)
                )
            number = known.index(key)
        if isinstance(result, NeuronScores):
            block = scores_data(result)
        else:
            has_maps = batch is not None and len(batch) == len(result)
            size = _size(batch) if has_maps and batch is not None else None
            block = spectrum_data(result, size, _names_of_images(image_names, result))
        blocks.append({**block, "film": number})
    return blocks, films


def _tagged_images(result: TaggedSpectrum | NeuronScores, data: Any) -> tuple[Tensor | None, int]:
    """The images that flicker on the page, as a batch, and how many are shown.

    Raises:
        ValueError, TypeError: If they are not those of the result.
    """
    if data is None:
        return None, 0
    if isinstance(result, NeuronScores):
        if not hasattr(data, "__getitem__"):
            raise TypeError(
                "Expected `images` to be the Dataset or Tensor that was scored, but got "
                f"{shown(data)}; of a DataLoader pass its `dataset`"
            )
        return image_in(data, 0, "images", "the data that were scored")[None], 1
    batch = image_batch(data, "images")
    if result.example_kind == "trial":
        return batch, 1
    if len(batch) != len(result):
        raise ValueError(
            f"Expected `images` to be the {count(len(result), 'image')} of the spectrum, but got "
            f"{len(batch)}; pass those that were tagged"
        )
    return batch, MOST_EXAMPLES


def _names_of_images(names: Any, spectrum: TaggedSpectrum) -> list[str]:
    """What the images of a spectrum are called.

    Raises:
        ValueError, TypeError: If there is not one text for each image.
    """
    if names is None or spectrum.example_kind == "trial":
        return [str(number) for number in range(len(spectrum))]
    expected = "a list with the name of each image"
    listed = instance(names, (list, tuple), "image_names", expected)
    if len(listed) != len(spectrum):
        raise ValueError(
            f"Expected `image_names` to be {count(len(spectrum), 'text')}, one for each image of "
            f"the spectrum, but got {len(listed)}; pass those of the images that were tagged"
        )
    return [instance(name, str, "image_names", expected) for name in listed]


def _size(images: Tensor) -> tuple[int, int]:
    return images.shape[2], images.shape[3]


def _designs(results: Sequence[Result]) -> list[tuple[Design, Any]]:
    """Each design once, with the components that were read."""
    found: list[tuple[Design, Any]] = []
    for result in results:
        if not isinstance(result, Circuit) and result.design not in [design for design, _ in found]:
            found.append((result.design, result.components))
    return found


def _layers(results: Sequence[Result]) -> dict[str, Any] | None:
    """Layers by components: of several spectra, or of scores."""
    for result in results:
        if isinstance(result, NeuronScores):
            return layers_of_scores(result)
    return layers_of_spectra([r for r in results if isinstance(r, TaggedSpectrum)])


def _default_title(results: Sequence[Result]) -> str:
    if all(isinstance(result, Circuit) for result in results):
        return ", ".join(f"Circuit of {result.target_name}" for result in results)  # type: ignore[union-attr]
    names: list[str] = []
    for result in results:
        if isinstance(result, Circuit):
            names.append(f"the circuit of {result.target_name}")
        elif isinstance(result, NeuronScores):
            names += result.layers
        else:
            names.append(result.layer or "a recorded series")
    names = [*dict.fromkeys(names)]
    what = ", ".join(names) if len(names) <= 3 else f"{len(names)} layers"
    return f"Frequency tagging of {what}"


def _summary(result: Result) -> str:
    """A result in one line for people."""
    if isinstance(result, Circuit):
        n_channels = sum(len(node.channels) for node in result.nodes)
        return (
            f"{result.target_name}: {count(n_channels, 'channel')} in "
            f"{count(len(result.nodes), 'group')} of {count(len(result.layers), 'layer')}"
        )
    if isinstance(result, NeuronScores):
        n_neurons = sum(values.numel() for values in result.mean.values())
        return (
            f"{count(n_neurons, result.neurons)} of {count(len(result.layers), 'layer')}, "
            f"{count(result.n_images, 'image')}, {count(len(result.components), 'component')}"
        )
    shape = " x ".join(map(str, result.mean.shape[1:])) or "1"
    return (
        f"{result.layer or 'Recorded series'}: {shape} {result.neurons}s, "
        f"{count(len(result), result.example_kind)}, {count(len(result.components), 'component')}"
    )


def _said_names(image_names: Sequence[str] | None) -> list[str]:
    """The first names of images in a line, if they are known."""
    if image_names is None:
        return []
    more = ", ..." if len(image_names) > MOST_EXAMPLES else ""
    return [f"Images: {', '.join(image_names[:MOST_EXAMPLES])}{more}"]


def _colors() -> list[dict[str, str]]:
    """Names of marks with their colors on a light and on a dark page."""
    marks = {str(part): color for part, color in enumerate(PART_COLORS)}
    marks["im"] = INTERMODULATION_COLOR
    return [
        {"mark": mark, "light": to_hex(color), "dark": to_hex(_lighter(color))}
        for mark, color in marks.items()
    ]


def _rgb() -> dict[str, list[int]]:
    """Red, green and blue of each mark, from 0 to 255, as maps have them on any page."""
    colors = {color["mark"]: to_rgb(color["light"]) for color in _colors()}
    return {mark: [round(255 * level) for level in color] for mark, color in colors.items()}


def _lighter(color: str) -> tuple[float, float, float]:
    red, green, blue = (level + (1 - level) * LIGHTER for level in to_rgb(color))
    return red, green, blue


@cache
def _template(name: str) -> Any:
    # Torch brings Jinja. Everything is escaped unless a template says otherwise.
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates", encoding="utf-8")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return environment.get_template(name)


def _file(name: str) -> str:
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")
