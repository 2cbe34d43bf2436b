// Draws a report from the JSON beside it. Texts go in as text, never as HTML.
(() => {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg";
  const ROWS_AT_ONCE = 100;
  // Shapes tell parts apart where colors do not: circle, square, triangle, and a diamond for
  // intermodulations.
  const SHAPES = [
    "M4 0A4 4 0 1 1-4 0A4 4 0 1 1 4 0Z",
    "M-3.6-3.6H3.6V3.6H-3.6Z",
    "M0-4.6L4.4 3.4H-4.4Z",
  ];
  const DIAMOND = "M0-5.2L5.2 0L0 5.2L-5.2 0Z";

  function make(name, attributes = {}, ...children) {
    return fill(document.createElement(name), attributes, children);
  }

  function draw(name, attributes = {}, ...children) {
    return fill(document.createElementNS(SVG, name), attributes, children);
  }

  function fill(element, attributes, children) {
    for (const [key, value] of Object.entries(attributes)) {
      if (value !== null && value !== undefined) element.setAttribute(key, value);
    }
    element.append(...children);
    return element;
  }

  function shape(mark) {
    return mark === "im" ? DIAMOND : SHAPES[Number(mark) % SHAPES.length];
  }

  function color(mark) {
    return `--color: var(--mark-${mark})`;
  }

  // Numbers as people write them, with three digits.
  function written(value, format = "number") {
    if (value === null || value === undefined) return "–";
    if (format === "percent") return `${(100 * value).toFixed(value < 0.0995 ? 1 : 0)} %`;
    if (format === "index") return (Math.abs(value) < 0.005 ? 0 : value).toFixed(2);
    if (format === "mark") return value ? "yes" : "no";
    if (format === "p") return value < 0.001 ? value.toExponential(0) : value.toFixed(3);
    const size = Math.abs(value);
    if (size === 0) return "0";
    if (size >= 1e5 || size < 1e-3) return value.toExponential(1);
    return String(Number(value.toPrecision(3)));
  }

  // About `n` round numbers from `low` to `high`.
  function ticks(low, high, n) {
    const raw = (high - low) / n || 1;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].find((s) => s * power >= raw) * power;
    const found = [];
    for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9; i++) {
      found.push(Number((i * step).toPrecision(12)));
    }
    return found;
  }

  // Call with the width of an element, now and whenever it changes.
  function atEveryWidth(element, drawAt) {
    let last = 0;
    const redraw = () => {
      const width = Math.floor(element.clientWidth);
      if (width > 40 && width !== last) {
        last = width;
        drawAt(width);
      }
    };
    new ResizeObserver(redraw).observe(element);
    redraw();
    return () => {
      if (last) drawAt(last);
    };
  }

  // The style of a page around, such as that of MNE's reports, must not change the height.
  function sized(width, height, attributes = {}) {
    return { width, height, viewBox: `0 0 ${width} ${height}`, style: `height: ${height}px`, ...attributes };
  }

  function frame(width, height, left, attributes) {
    const svg = draw("svg", sized(width, height, attributes));
    return { svg, left, right: width - 12, top: 28, bottom: height - 40 };
  }

  function axes(box, x, y, xTicks, yTicks, xLabel, yLabel) {
    for (const value of yTicks) {
      box.svg.append(
        draw("line", { class: "axis", x1: box.left, x2: box.right, y1: y(value), y2: y(value) }),
        draw("text", { x: box.left - 8, y: y(value) + 4, "text-anchor": "end" }, written(value)),
      );
    }
    for (const value of xTicks) {
      box.svg.append(
        draw("text", { x: x(value), y: box.bottom + 18, "text-anchor": "middle" }, written(value)),
      );
    }
    box.svg.append(
      draw("text", { x: (box.left + box.right) / 2, y: box.bottom + 35, "text-anchor": "middle" }, xLabel),
      draw("text", { x: 2, y: 11 }, yLabel),
    );
  }

  // ---- The stimulus ----------------------------------------------------------------------------

  function loaded(source) {
    return new Promise((resolve, reject) => {
      const image = new Image();
      image.onload = () => resolve(image);
      image.onerror = reject;
      image.src = source;
    });
  }

  async function pixels(source, width, height) {
    const canvas = make("canvas", { width, height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(await loaded(source), 0, 0, width, height);
    return context.getImageData(0, 0, width, height).data;
  }

  // Draws frames of one image: baseline + contrast * (image - baseline), part by part.
  class Screen {
    constructor(film) {
      this.film = film;
      this.layers = film.examples.map(() => null);
    }

    async ready(example) {
      const { width, height } = this.film;
      const place = Math.min(example, this.layers.length - 1);
      const found = this.film.examples[place];
      this.layers[place] ??= Promise.all(
        [found.image, found.baseline, found.mask].map((source) => pixels(source, width, height)),
      );
      return this.layers[place];
    }

    async show(canvas, contrasts, example) {
      const [image, baseline, parts] = await this.ready(example);
      const { width, height } = this.film;
      const context = canvas.getContext("2d", { willReadFrequently: true });
      const target = context.createImageData(width, height);
      const levels = new Float32Array(256).fill(1);
      contrasts.forEach((contrast, part) => { levels[part] = contrast; });
      for (let i = 0; i < image.length; i++) {
        target.data[i] = i % 4 === 3
          ? 255
          : baseline[i] + levels[parts[i]] * (image[i] - baseline[i]);
      }
      context.putImageData(target, 0, 0);
    }
  }

  function startFilm(element, film, screen, colors) {
    const canvas = element.querySelector("canvas");
    const button = element.querySelector(".play");
    const slider = element.querySelector(".moment");
    if (film.width <= 96) canvas.classList.add("pixels");
    const moments = film.contrasts.length;
    let moment = 0, playing = false, before = null, isVisible = true, isBusy = false;
    const mark = drawCurves(element.querySelector(".curves"), film);

    const contrastsAt = (at) => {
      const low = Math.floor(at) % moments, high = (low + 1) % moments;
      // Frames without time are shown one by one, those in time run into each other.
      const share = film.slowing === null ? 0 : at - Math.floor(at);
      return film.contrasts[low].map((one, i) => one + share * (film.contrasts[high][i] - one));
    };
    const showMoment = async (at) => {
      moment = at;
      mark(at);
      if (isBusy) return;
      isBusy = true;
      let shown = null;
      while (shown !== moment) {
        shown = moment;
        await screen.show(canvas, contrastsAt(shown), screen.example ?? 0);
      }
      isBusy = false;
    };
    const step = (now) => {
      if (!playing) return;
      if (before !== null && isVisible) {
        const next = (moment + (now - before) / 1000 / film.seconds) % moments;
        slider.value = Math.floor(next);
        showMoment(next);
      }
      before = now;
      requestAnimationFrame(step);
    };
    const setPlaying = (wanted) => {
      playing = wanted && moments > 1;
      button.textContent = playing ? "Pause" : "Play";
      before = null;
      if (playing) requestAnimationFrame(step);
    };
    button.addEventListener("click", () => setPlaying(!playing));
    slider.addEventListener("input", () => {
      setPlaying(false);
      showMoment(Number(slider.value));
    });
    new IntersectionObserver(([entry]) => {
      isVisible = entry.isIntersecting;
    }).observe(canvas);
    const still = matchMedia("(prefers-reduced-motion: reduce)");
    still.addEventListener("change", () => setPlaying(!still.matches));
    const regions = element.querySelector(".regions");
    screen.changed = () => {
      showMoment(moment);
      if (regions) drawRegions(regions, film, screen, colors);
    };
    if (regions) drawRegions(regions, film, screen, colors);
    showMoment(0);
    setPlaying(!still.matches);
  }

  // Where the parts are, in their colors, with their numbers.
  async function drawRegions(canvas, film, screen, colors) {
    const parts = (await screen.ready(screen.example ?? 0))[2];
    const { width, height } = canvas;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const picture = context.createImageData(width, height);
    const pixelsOf = new Map();
    for (let at = 0; at < width * height; at++) {
      const x = at % width, y = Math.floor(at / width);
      const from = Math.floor((y * film.height) / height) * film.width + Math.floor((x * film.width) / width);
      const part = parts[4 * from];
      const isTagged = part < film.parts.length;
      picture.data.set([...(isTagged ? colors[part % 8] : [128, 128, 128]), isTagged ? 255 : 60], 4 * at);
      if (!isTagged) continue;
      if (!pixelsOf.has(part)) pixelsOf.set(part, []);
      pixelsOf.get(part).push([x, y]);
    }
    context.putImageData(picture, 0, 0);
    Object.assign(context, { font: "600 20px sans-serif", textAlign: "center", textBaseline: "middle", lineWidth: 4, strokeStyle: "#000a", fillStyle: "#fff" });
    for (const [part, pixels] of pixelsOf) {
      if (pixels.length < 500) continue;  // no room for a number
      const [meanX, meanY] = [0, 1].map((axis) => pixels.reduce((sum, pixel) => sum + pixel[axis], 0) / pixels.length);
      const away = ([x, y]) => (x - meanX) ** 2 + (y - meanY) ** 2;
      // The middle of a region may lie outside of it.
      const [x, y] = pixels.reduce((best, pixel) => (away(pixel) < away(best) ? pixel : best));
      context.strokeText(part, x, y);
      context.fillText(part, x, y);
    }
  }

  // The contrast of each part over time, a window at a time; returns what moves the mark of the moment.
  function drawCurves(element, film) {
    let line = null, last = 0, first = 0;
    const moments = film.contrasts.length;
    const height = 96;
    const place = film.slowing === null
      ? (width, at) => ((Math.floor(at) + 0.5) / moments) * width
      : (width, at) => 2 + (Math.min(1, (at - first) / Math.max(1, film.window - 1))) * (width - 4);
    const redraw = atEveryWidth(element, (width) => {
      const svg = draw("svg", sized(width, height));
      const [low, high] = film.range;
      const y = (contrast) => 6 + (1 - (contrast - low) / (high - low)) * (height - 12);
      if (film.slowing === null) drawFrames(svg, film, width, height);
      else {
        for (const contrast of [low, high]) {
          svg.append(draw("line", { class: "axis", x1: 0, x2: width, y1: y(contrast), y2: y(contrast) }));
        }
        for (let part = 0; part < Math.min(film.parts.length, 8); part++) {
          const points = film.contrasts.slice(first, first + film.window).map((contrasts, i) => `${place(width, first + i).toFixed(1)} ${y(contrasts[part]).toFixed(1)}`);
          svg.append(draw("path", { class: "curve", style: color(part), d: `M${points.join("L")}` }));
        }
      }
      line = draw("line", { class: "now", y1: 0, y2: height });
      svg.append(line);
      element.replaceChildren(svg);
      move(last);
    });
    function move(at) {
      last = at;
      const begin = Math.floor(Math.min(at, moments - 1) / film.window) * film.window;
      if (begin !== first) {
        first = begin;
        redraw();
        return;
      }
      const x = place(element.clientWidth, Math.min(at, moments - 1));
      line?.setAttribute("x1", x);
      line?.setAttribute("x2", x);
    }
    return move;
  }

  // Frames without time as columns, parts as rows: the higher the contrast, the more opaque.
  function drawFrames(svg, film, width, height) {
    const [low, high] = film.range;
    const across = width / film.contrasts.length, down = height / film.parts.length;
    film.contrasts.forEach((contrasts, at) => contrasts.forEach((contrast, part) => {
      const opacity = 0.08 + (0.92 * (contrast - low)) / (high - low);
      svg.append(draw("rect", {
        class: "lit-cell", style: color(part % 8), opacity: opacity.toFixed(2), x: at * across + 0.5,
        y: part * down + 0.5, width: Math.max(1, across - 1), height: Math.max(1, down - 1), rx: 1.5,
      }));
    }));
  }

  // ---- The spectrum ----------------------------------------------------------------------------

  function valuesOf(block, example, statistic, row) {
    const of = (name) => example[name]?.map((values) => values[row]);
    if (statistic.key === "statistic") return of("statistic");
    if (statistic.key === "coefficient") return of("coefficient");
    const amplitude = of("amplitude") ?? of("coefficient").map(Math.abs);
    if (statistic.key === "amplitude") return amplitude;
    return of("snr") ?? amplitude.map((value) => (example.floor > 0 ? value / example.floor : 0));
  }

  function drawSpectrum(chart, readout, block, example, statistic, row, width) {
    const values = valuesOf(block, example, statistic, row);
    const snr = statistic.key === "statistic"
      ? null
      : valuesOf(block, example, { key: "snr" }, row);
    // Decibels below 0 are drawn as 0: the component is not there.
    const heights = statistic.decibels
      ? values.map((value) => Math.max(0, 20 * Math.log10(Math.max(value, 1e-3))))
      : values.map((value) => value ?? 0);
    const hasTime = block.components.some((c) => c.title !== c.label);
    const height = Math.max(240, Math.min(330, width * 0.5)) + (hasTime ? 0 : 40);
    const box = frame(width, height, 58, { role: "group", "aria-label": `Spectrum of ${block.row_kind} ${block.names[row]}: ${statistic.label}` });
    if (!hasTime) box.bottom -= 40;
    const highest = Math.max(...heights, 0), lowest = Math.min(...heights, 0);
    const span = highest - lowest || 1;
    const places = block.components.map((c) => c.place);
    const first = hasTime ? 0 : -0.5, last = hasTime ? Math.max(...places) * 1.04 : places.length - 0.5;
    const x = (place) => box.left + ((place - first) / (last - first)) * (box.right - box.left);
    const y = (value) => box.bottom - ((value - lowest) / span) * (box.bottom - box.top - 12);
    axes(box, x, y, hasTime ? ticks(first, last, Math.max(3, width / 90)) : [], ticks(lowest, highest, 4), hasTime ? "Frequency (Hz)" : "", statistic.label);
    box.svg.append(draw("line", { class: "zero", x1: box.left, x2: box.right, y1: y(0), y2: y(0) }));

    const say = (place) => {
      const component = block.components[place];
      const value = statistic.decibels
        ? `${(20 * Math.log10(Math.max(values[place], 1e-3))).toFixed(1)} dB`
        : written(values[place]);
      const p = example.p_values ? `, p = ${written(example.p_values[place][row], "p")}` : "";
      const absent = isAbsent(place) ? ", absent" : "";
      return `${component.title}: ${value}${p}${absent}`;
    };
    const isAbsent = (place) => block.threshold !== null && snr !== null && !(snr[place] > block.threshold);
    const order = places.map((_, i) => i).sort((a, b) => places[a] - places[b] || a - b);
    const strongest = order.reduce((best, i) => (Math.abs(heights[i]) > Math.abs(heights[best]) ? i : best), order[0]);
    const stems = order.map((i) => {
      const component = block.components[i];
      const across = x(component.place), tip = y(heights[i]);
      const stem = draw(
        "g",
        {
          class: `stem${isAbsent(i) ? " absent" : ""}`, style: color(component.mark), role: "img",
          tabindex: i === strongest ? 0 : -1, "aria-label": say(i), "data-component": component.label,
        },
        draw("rect", { class: "hit", x: across - 6, width: 12, y: box.top, height: box.bottom - box.top }),
        draw("line", { x1: across, x2: across, y1: y(0), y2: tip }),
        draw("circle", { class: "halo", cx: across, cy: tip, r: 9 }),
        draw("path", { d: shape(component.mark), transform: `translate(${across} ${tip})` }),
      );
      stem.say = say(i);
      return stem;
    });
    box.svg.append(...stems);
    nameStrongest(box.svg, block, order, heights, x, y, isAbsent, box);
    if (!hasTime) nameBelow(box, block, x);

    const near = (stem) => {
      stems.forEach((other) => other.classList.toggle("near", other === stem));
      readout.textContent = (stem ?? stems[order.indexOf(strongest)]).say;
    };
    box.svg.addEventListener("pointermove", (event) => {
      const at = event.clientX - box.svg.getBoundingClientRect().left;
      // Of lines in one place, the highest.
      const distance = (i) => Math.abs(x(block.components[order[i]].place) - at) - 0.01 * Math.abs(heights[order[i]]) / span;
      const best = order.map((_, i) => i).reduce((a, b) => (distance(b) < distance(a) ? b : a), 0);
      near(distance(best) < 24 ? stems[best] : null);
    });
    box.svg.addEventListener("pointerleave", () => near(document.activeElement?.closest?.(".stem") ?? null));
    box.svg.addEventListener("focusin", (event) => near(event.target.closest(".stem")));
    box.svg.addEventListener("focusout", () => near(null));
    box.svg.addEventListener("keydown", (event) => {
      const at = stems.indexOf(event.target.closest(".stem"));
      const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: stems.length - 1 }[event.key];
      if (next === undefined || !stems[next]) return;
      event.preventDefault();
      stems.forEach((stem, i) => stem.setAttribute("tabindex", i === next ? 0 : -1));
      stems[next].focus();
    });
    const had = chart.contains(document.activeElement);
    chart.replaceChildren(box.svg);
    near(null);
    if (had) stems.find((stem) => stem.getAttribute("tabindex") === "0").focus();
  }

  // Names at the tips of the strongest lines, the tags first, none over another.
  function nameStrongest(svg, block, order, heights, x, y, isAbsent, box) {
    const rank = (i) => (block.components[i].order === 1 ? 1e9 : 0) + Math.abs(heights[i]);
    const placed = [];
    const highest = Math.max(...heights.map(Math.abs));
    for (const i of [...order].sort((a, b) => rank(b) - rank(a)).slice(0, 8)) {
      if (isAbsent(i) || Math.abs(heights[i]) <= 0.01 * highest) continue;
      const label = block.components[i].label, half = 3.8 * label.length + 4;
      const across = Math.min(Math.max(x(block.components[i].place), box.left + half), box.right - half);
      const up = y(heights[i]) + (heights[i] < 0 ? 20 : -10);
      if (placed.some(([a, b, w]) => Math.abs(a - across) < w + half && Math.abs(b - up) < 15)) continue;
      // Nor over the tip of another line.
      const covers = order.some((j) => j !== i && Math.abs(x(block.components[j].place) - across) < half
        && Math.abs(y(heights[j]) - up + 4) < 10);
      if (covers && block.components[i].order > 1) continue;
      placed.push([across, up, half]);
      svg.append(draw("text", { class: "name", x: across, y: up, "text-anchor": "middle", "pointer-events": "none" }, label));
    }
  }

  // Without frequencies the axis names every component, or as many as fit.
  function nameBelow(box, block, x) {
    const every = Math.ceil(block.components.length / ((box.right - box.left) / 15));
    block.components.forEach((component, i) => {
      if (i % every) return;
      const across = x(component.place) + 4, down = box.bottom + 12;
      const label = component.label.length > 14 ? `${component.label.slice(0, 13)}…` : component.label;
      box.svg.append(draw("text", { x: across, y: down, "text-anchor": "end", transform: `rotate(-55 ${across} ${down})` }, label));
    });
  }

  // ---- The contrast response -------------------------------------------------------------------

  function drawContrast(chart, readout, block, example, row, width) {
    const height = Math.max(220, Math.min(280, width * 0.62));
    const contrasts = example.contrasts;
    const curves = example.responses.map((of) => of[row]);
    const all = curves.flat();
    const low = Math.min(...all), high = Math.max(...all), span = high - low || Math.abs(high) || 1;
    const box = frame(width, height, 58, { role: "img", tabindex: 0 });
    const x = (c) => box.left + ((c - contrasts[0]) / (contrasts.at(-1) - contrasts[0])) * (box.right - box.left - 6);
    const y = (v) => box.bottom - ((v - low) / span) * (box.bottom - box.top - 14) - 6;
    axes(box, x, y, ticks(contrasts[0], contrasts.at(-1), 4), ticks(low, low + span, 3), "Contrast of the part", `Response (${block.unit})`);
    const say = (at) => `At contrast ${written(contrasts[at])}: ` + curves.map((curve, i) => `${block.curves[i]} ${written(curve[at])}`).join("; ");
    box.svg.setAttribute("aria-label", `${block.curves.map((name, i) => `${name}: from ${written(curves[i][0])} to ${written(curves[i].at(-1))}`).join("; ")}. Arrow keys read the curves.`);
    const line = draw("line", { class: "now", y1: box.top, y2: box.bottom, visibility: "hidden" });
    box.svg.append(line);
    const dots = curves.map((curve, i) => {
      const points = curve.map((v, at) => `${x(contrasts[at]).toFixed(1)} ${y(v).toFixed(1)}`);
      const end = draw("path", { class: "dot", d: shape(String(i)), style: color(i), transform: `translate(${x(contrasts.at(-1))} ${y(curve.at(-1))})` });
      box.svg.append(draw("path", { class: "curve", style: color(i), d: `M${points.join("L")}` }), end);
      return end;
    });
    let at = contrasts.length - 1;
    const show = (place) => {
      at = Math.min(Math.max(place, 0), contrasts.length - 1);
      line.setAttribute("visibility", "visible");
      line.setAttribute("x1", x(contrasts[at]));
      line.setAttribute("x2", x(contrasts[at]));
      dots.forEach((dot, i) => dot.setAttribute("transform", `translate(${x(contrasts[at])} ${y(curves[i][at])})`));
      readout.textContent = say(at);
    };
    const rest = () => {
      show(contrasts.length - 1);
      line.setAttribute("visibility", "hidden");
    };
    box.svg.addEventListener("pointermove", (event) => {
      const across = event.clientX - box.svg.getBoundingClientRect().left;
      show(contrasts.reduce((best, c, i) => (Math.abs(x(c) - across) < Math.abs(x(contrasts[best]) - across) ? i : best), 0));
    });
    box.svg.addEventListener("pointerleave", rest);
    box.svg.addEventListener("focus", () => show(at));
    box.svg.addEventListener("blur", rest);
    box.svg.addEventListener("keydown", (event) => {
      const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: contrasts.length - 1 }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      show(next);
    });
    chart.replaceChildren(box.svg);
    rest();
  }

  // ---- What parts do together ------------------------------------------------------------------

  function drawTogether(element, caption, block, example, row, film, show) {
    if (example.pairs.length > 1) {
      drawMatrix(element, caption, example, row);
      return;
    }
    const [pair] = example.pairs;
    const [one, two] = pair.parts;
    const answers = pair.corners ? pair.corners.map((half) => half.map((of) => of[row])) : null;
    const all = answers.flat(), low = Math.min(...all), high = Math.max(...all);
    const range = block.range;
    const name = (part, level) => `part ${part} at ${range[level]}`;
    const grid = make("div", { class: "corners", role: "group", "aria-label": "Response with each part at its lowest and highest contrast" });
    grid.append(make("span"), ...[0, 1].map((level) => make("span", { class: "column-name" }, name(two, level))));
    for (const first of [0, 1]) {
      grid.append(make("span", { class: "row-name" }, name(one, first)));
      for (const second of [0, 1]) {
        const value = answers[first][second];
        const cell = make("div", { class: "cell" });
        const words = `${name(one, first)}, ${name(two, second)}: mean response ${written(value)}`;
        if (film) {
          const canvas = make("canvas", { width: film.width, height: film.height, role: "img", "aria-label": words });
          if (film.width <= 96) canvas.classList.add("pixels");
          const contrasts = film.contrasts[0].map(() => range[1]);
          contrasts[one] = range[first];
          contrasts[two] = range[second];
          show(canvas, contrasts);
          cell.append(canvas, written(value));
        } else {
          const level = high > low ? (value - low) / (high - low) : 0;
          cell.append(make("div", { class: "tile", style: `--level: ${level.toFixed(3)}`, title: words }, written(value)));
        }
        grid.append(cell);
      }
    }
    element.replaceChildren(grid);
    const [{ and_or: { [row]: index }, mixed: { [row]: isMixed } }] = example.choices;
    const verdict = isMixed
      ? "Neither AND nor OR: more contrast raises the response in places and lowers it in others; AND/OR index"
      : "AND/OR index";
    caption.textContent = `${verdict} ${index === null ? "undefined" : written(index, "index")}, interaction effect ${written(pair.effect[row])}. Numbers are mean responses (${block.unit}).`;
  }

  function drawMatrix(element, caption, example, row) {
    const parts = [...new Set(example.pairs.flatMap((pair) => pair.parts))].sort((a, b) => a - b);
    const effects = new Map(example.pairs.map((pair) => [pair.parts.join(), pair.effect[row]]));
    const largest = Math.max(...[...effects.values()].map((v) => Math.abs(v ?? 0))) || 1;
    const cell = (a, b) => {
      const value = effects.get([Math.min(a, b), Math.max(a, b)].join());
      if (value === undefined) return make("td");
      const share = (100 * Math.abs(value ?? 0)) / largest;
      const shade = value < 0 ? "var(--rises)" : "var(--falls)";
      return make("td", { title: `parts ${a} and ${b}: ${written(value)}`, style: `background: color-mix(in srgb, ${shade} ${(share * 0.8).toFixed(0)}%, transparent)` }, parts.length > 9 ? "" : written(value));
    };
    const head = make("tr", {}, make("th", { scope: "col" }, "Part"), ...parts.map((part) => make("th", { scope: "col" }, String(part))));
    const rows = parts.map((a) => make("tr", {}, make("th", { scope: "row" }, String(a)), ...parts.map((b) => cell(a, b))));
    element.replaceChildren(
      make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Interaction effects of pairs of parts" },
        make("table", { class: "matrix" }, make("thead", {}, head), make("tbody", {}, ...rows))),
    );
    caption.textContent = `Interaction effect of each pair of parts, up to ${written(largest)}: red where two together do more than each adds, blue where they do less.`;
  }

  function drawKinds(element, rows) {
    const kinds = rows[0].kinds;
    for (const { layer, kinds: of } of rows) {
      const words = of.map((kind) => `${kind.name}: ${kind.percent.toFixed(0)} %`).join("; ");
      const bar = make("div", { class: "stacked", role: "img", "aria-label": layer ? `${layer}. ${words}` : words });
      for (const kind of of) {
        const [r, g, b] = [1, 3, 5].map((i) => parseInt(kind.color.slice(i, i + 2), 16));
        const ink = 0.3 * r + 0.59 * g + 0.11 * b < 128 ? "#fff" : "#111";
        bar.append(make("span", { style: `width: ${kind.percent}%; background: ${kind.color}; color: ${ink}`, title: `${kind.name}: ${kind.percent.toFixed(1)} %` }, kind.percent >= 5 ? `${kind.percent.toFixed(0)} %` : ""));
      }
      element.append(make("div", { class: `kinds-row${layer ? "" : " alone"}` }, ...(layer ? [make("span", {}, layer)] : []), bar));
    }
    element.append(make("ul", { class: "legend" }, ...kinds.map((kind) => make("li", {}, make("span", { class: "swatch", style: `background: ${kind.color}` }), kind.name))));
  }

  // ---- Table, charts and maps of one result ----------------------------------------------------

  // Which rows a reader may ask for, as far as the columns tell.
  const CHOICES = {
    and_or: [
      ["Need both (AND)", (value) => value >= 0.1],
      ["Need either (OR)", (value) => value !== null && value <= -0.1],
      ["Add them up", (value) => value !== null && Math.abs(value) < 0.1],
      ["Mixed", (value, isMixed) => isMixed],
    ],
    important: [["Important", (value) => value === 1]],
  };

  function explore(section, block, film, screen) {
    const find = (selector) => section.querySelector(selector);
    const state = { row: 0, sort: null, falls: true, shown: ROWS_AT_ONCE, example: 0, rows: [], filter: null, pair: 0 };
    const columnsOfPair = () => [
      ...(block.groups && block.group_names.length > 1 ? [{ key: "group", label: "Layer", hint: "Layer", format: "word" }] : []),
      ...(block.choices.length > 1
        ? [...block.choices[state.pair].columns, ...block.columns.filter(({ mark }) => mark === undefined)]
        : block.columns),
    ];
    let columns = columnsOfPair();
    const example = () => block.examples[state.example];
    const value = (column, row) => {
      if (column.key === "group") return block.groups[row];
      if (/^c\d+$/.test(column.key)) {
        const place = Number(column.key.slice(1));
        const of = example();
        const found = (of.statistic ?? of.amplitude)?.[place][row] ?? Math.abs(of.coefficient[place][row]);
        return found > (of.floor ?? -Infinity) ? found : null;  // nothing below rounding
      }
      if (column.key === "and_or") return isMixed(row) ? null : ofPair().and_or[row];
      return example()[column.key]?.[row] ?? null;
    };
    const ofPair = () => example().choices[state.pair];
    const isMixed = (row) => ofPair()?.mixed[row] === 1;
    const numeric = block.names.every((name) => /^\d+$/.test(name));
    const nameOf = (row) => (numeric ? Number(block.names[row]) : block.names[row]);

    const compare = (a, b) => {
      const [one, two] = state.sort === null ? [nameOf(a), nameOf(b)] : [value(columns[state.sort], a), value(columns[state.sort], b)];
      // What is undefined comes last, whatever the direction.
      if (one === null || two === null) return (one === null) - (two === null) || a - b;
      return (one < two ? -1 : one > two ? 1 : 0) * (state.falls ? -1 : 1) || a - b;
    };

    const head = make("tr");
    const sortBy = (place) => {
      state.falls = state.sort === place ? !state.falls : place !== null && columns[place].format !== "p" && columns[place].format !== "word";
      state.sort = place;
      fillTable();
    };
    function fillHead() {
      const titles = [{ label: block.row_kind[0].toUpperCase() + block.row_kind.slice(1), hint: "Index" }, ...columns];
      head.replaceChildren(...titles.map(({ label, hint, mark, format }, i) => {
        const button = make("button", { type: "button", title: hint }, ...(mark ? [markOf(mark), " "] : []), label);
        button.addEventListener("click", () => sortBy(i ? i - 1 : null));
        return make("th", { scope: "col", class: format === "word" ? "word" : null }, button);
      }));
    }
    fillHead();
    find(".sortable thead").append(head);
    if (columns.length > 5) find(".explorer").classList.add("broad");
    find(".explorer").classList.toggle("short", block.names.length <= 12);

    const scroll = find(".rows");
    new ResizeObserver(() => {
      find(".hint").hidden = scroll.scrollWidth <= scroll.clientWidth;
    }).observe(find(".sortable"));

    const body = find(".sortable tbody");
    function fillTable() {
      const search = find(".search").value.trim().toLowerCase();
      const group = find(".group")?.value ?? "";
      state.rows = block.names.map((_, row) => row).filter((row) =>
        (!search || (numeric ? block.names[row] === search || block.names[row].startsWith(search) : block.names[row].toLowerCase().includes(search)))
        && (group === "" || block.groups[row] === Number(group))
        && (!state.filter || state.filter(row)));
      state.rows.sort(compare);
      [...head.children].forEach((cell, i) => {
        if ((i ? i - 1 : null) === state.sort) cell.setAttribute("aria-sort", state.falls ? "descending" : "ascending");
        else cell.removeAttribute("aria-sort");
      });
      const largest = columns.map((column) => Math.max(...block.names.map((_, row) => Math.abs(value(column, row) ?? 0))) || 1);
      body.replaceChildren(...state.rows.slice(0, state.shown).map((row) => rowOf(row, largest)));
      const more = find(".more"), left = state.rows.length - state.shown;
      more.hidden = left <= 0;
      more.textContent = `Show ${Math.min(left, ROWS_AT_ONCE)} more`;
      find(".found").textContent = state.rows.length === block.names.length
        ? `${block.names.length} in all`
        : `${state.rows.length} of ${block.names.length}`;
    }
    function rowOf(row, largest) {
      const button = make("button", { type: "button", "aria-label": `Choose ${block.row_kind} ${block.names[row]}` }, block.names[row]);
      const cells = columns.map((column, i) => {
        const found = value(column, row);
        if (column.key === "group") return make("td", { class: "word", title: block.group_names[found] }, block.group_names[found]);
        const isBar = column.mark !== undefined;
        const style = isBar ? `--bar: var(--mark-${column.mark}); --width: ${(Math.abs(found ?? 0) / largest[i] * 0.9).toFixed(3)}` : null;
        const words = column.key === "and_or" && isMixed(row) ? "mixed" : written(found, column.format);
        return make("td", { class: isBar ? "bar-cell" : "", style }, words);
      });
      const line = make("tr", { "data-row": row, "aria-current": row === state.row ? "true" : null }, make("th", { scope: "row" }, button), ...cells);
      return line;
    }
    body.addEventListener("click", (event) => {
      const line = event.target.closest("tr");
      if (line) choose(Number(line.dataset.row));
    });
    body.addEventListener("keydown", (event) => {
      const line = event.target.closest("tr");
      const next = { ArrowDown: line?.nextElementSibling, ArrowUp: line?.previousElementSibling }[event.key];
      if (!next) return;
      event.preventDefault();
      next.querySelector("button").focus();
    });
    find(".more").addEventListener("click", () => {
      state.shown += ROWS_AT_ONCE;
      fillTable();
    });
    find(".search").addEventListener("input", () => fillTable());
    find(".group")?.addEventListener("change", () => fillTable());

    const which = find(".which");
    which.append(make("option", { value: "" }, "All"));
    const filters = columns.flatMap((column) => (CHOICES[column.key] ?? []).map(([label, passes]) => [label, (row) => passes(value(column, row), isMixed(row))]));
    filters.forEach(([label], i) => which.append(make("option", { value: i }, label)));
    which.parentElement.hidden = !filters.length;
    which.addEventListener("change", () => {
      state.filter = which.value === "" ? null : filters[Number(which.value)][1];
      fillTable();
    });

    function choose(row) {
      state.row = row;
      for (const line of body.children) {
        if (Number(line.dataset.row) === row) line.setAttribute("aria-current", "true");
        else line.removeAttribute("aria-current");
      }
      const layer = block.groups ? block.group_names[block.groups[row]] : block.layer;
      const kind = block.row_kind[0].toUpperCase() + block.row_kind.slice(1);
      find(".chosen").textContent = `Spectrum of ${kind.toLowerCase()} ${block.names[row]}, ${layer}`;
      drawCharts();
      drawMaps();
    }

    const statistic = () => block.statistics[Number(find(".statistic")?.value ?? 0)];
    const [readSpectrum, readContrast] = ["spectrum", "contrast"].map((name) => find(`.${name}`)?.parentElement.querySelector(".readout"));
    const redraws = [
      atEveryWidth(find(".spectrum"), (width) => drawSpectrum(find(".spectrum"), readSpectrum, block, example(), statistic(), state.row, width)),
      ...(find(".contrast") ? [atEveryWidth(find(".contrast"), (width) => drawContrast(find(".contrast"), readContrast, block, example(), state.row, width))] : []),
    ];
    function drawCharts() {
      redraws.forEach((redraw) => redraw());
      const together = find(".together");
      const show = (canvas, contrasts) => screen.show(canvas, contrasts, state.example);
      if (together) drawTogether(together, find(".together-caption"), block, example(), state.row, film, show);
    }
    find(".statistic")?.addEventListener("change", drawCharts);

    const kinds = new Map(block.components.map(({ kind, mark }) => [kind, kind === "harmonics" ? "0" : mark]));
    find(".legend.marks").append(...[...kinds].sort((a, b) => a[1].localeCompare(b[1])).map(([kind, mark]) => make("li", {}, markOf(mark), kind)));

    // ---- Maps
    const showsOne = () => find(".maps-of :checked")?.value === "one";
    function drawMaps() {
      if (!block.maps) return;
      section.querySelectorAll(".map").forEach((element, place) => {
        const all = block.maps.examples[state.example][place];
        const over = element.querySelector(".over");
        if (film) element.querySelector(".under").src = film.examples[Math.min(state.example, film.examples.length - 1)].image;
        const show = (picture, largest) => {
          over.src = picture;
          over.hidden = !largest;
          element.querySelector(".largest").textContent = largest ? `up to ${written(largest)} (${block.unit})` : "no response";
        };
        if (showsOne()) {
          const { picture, largest } = mapOfChannel(block.maps.channels, place, state.example, block.examples.length, state.row, block.names.length, block.components[block.maps.components[place]].mark);
          show(picture, largest);
        } else show(all.picture, all.is_absent ? 0 : all.largest);
      });
    }
    section.querySelectorAll(".maps-of input").forEach((input) => input.addEventListener("change", drawMaps));

    find(".example")?.addEventListener("change", (event) => {
      state.example = Number(event.target.value);
      if (screen) {
        screen.example = state.example;
        screen.changed?.();
      }
      fillTable();
      choose(state.row);
      showKinds();
    });
    find(".parts")?.addEventListener("change", (event) => {
      state.pair = Number(event.target.value);
      columns = columnsOfPair();
      fillHead();
      fillTable();
      find(".pair-name").textContent = block.choices[state.pair].parts.join(" and ");
      showKinds();
    });
    const kindsElement = find("[data-kinds]");
    function showKinds() {
      if (!kindsElement) return;
      kindsElement.replaceChildren();
      drawKinds(kindsElement, [{ layer: "", kinds: ofPair().kinds }]);
    }
    showKinds();
    const ofLayers = find("[data-kinds-of-layers]");
    if (ofLayers) drawKinds(ofLayers, block.and_or_of_layers);

    // Begin with the row of the highest score, or that responds most where parts meet.
    const hasValues = (column) => block.names.some((_, row) => value(column, row) !== null);
    const best = ["score", "im"].map((wanted) => columns.findIndex((column) => [column.key, column.mark].includes(wanted) && hasValues(column))).find((place) => place >= 0);
    sortBy(best ?? 0);
    choose(state.rows[0] ?? 0);
    fillTable();
  }

  // A map of one channel, its bytes turned into a picture of one color.
  function mapOfChannel(channels, place, example, nExamples, row, nRows, mark) {
    const { width, height } = channels;
    channels.unpacked ??= Uint8Array.from(atob(channels.bytes), (letter) => letter.charCodeAt(0));
    const start = ((place * nExamples + example) * nRows + row) * width * height;
    const canvas = make("canvas", { width, height });
    const context = canvas.getContext("2d");
    const target = context.createImageData(width, height);
    const [red, green, blue] = channels.colors?.[mark] ?? [0, 0, 0];
    for (let i = 0; i < width * height; i++) {
      target.data.set([red, green, blue, channels.unpacked[start + i]], 4 * i);
    }
    context.putImageData(target, 0, 0);
    return { picture: canvas.toDataURL(), largest: channels.largest[place][example][row] };
  }

  function markOf(mark) {
    const svg = draw("svg", { class: "sign", viewBox: "-6 -6 12 12", "aria-hidden": "true" });
    paint(svg, mark);
    return svg;
  }

  function paint(svg, mark) {
    svg.replaceChildren(draw("path", { d: shape(mark), style: `fill: var(--mark-${mark})` }));
  }

  // ---- Circuits --------------------------------------------------------------------------------

  function drawCircuit(section, block) {
    const columns = section.querySelector(".columns"), svg = section.querySelector(".edges");
    const readout = section.querySelector(".readout");
    const nodes = new Map([...section.querySelectorAll(".node")].map((node) => [node.dataset.node, node]));
    let paths = [];
    const layOut = () => {
      const origin = columns.getBoundingClientRect();
      if (!origin.width) return;
      svg.setAttribute("viewBox", `0 0 ${origin.width} ${origin.height}`);
      const side = (name, edge) => {
        const box = nodes.get(name).getBoundingClientRect();
        return [box[edge] - origin.left, (box.top + box.bottom) / 2 - origin.top];
      };
      paths = block.edges.filter(({ source, target }) => nodes.has(source) && nodes.has(target)).map((edge) => {
        const [x1, y1] = side(edge.source, "right"), [x2, y2] = side(edge.target, "left"), half = (x1 + x2) / 2;
        const path = draw("path", {
          class: edge.weight > 0 ? "rises" : "falls", "stroke-width": Math.max(1, 14 * Math.abs(edge.weight)),
          d: `M${x1} ${y1}C${half} ${y1} ${half} ${y2} ${x2} ${y2}`,
        });
        path.edge = edge;
        return path;
      });
      svg.replaceChildren(...[...paths].reverse());
    };
    const name = (node) => nodes.get(node)?.getAttribute("aria-label") ?? node;
    const light = (node) => {
      svg.classList.toggle("lit", node !== null);
      const lit = paths.filter(({ edge }) => edge.source === node || edge.target === node);
      paths.forEach((path) => path.classList.toggle("lit", lit.includes(path)));
      const words = lit.map(({ edge: { source, target, weight } }) => `${target === node ? `from ${name(source)}` : `to ${name(target)}`} ${weight > 0 ? "+" : "−"}${Math.abs(weight).toFixed(2)}`);
      readout.textContent = node === null ? "Point at a group, or press Tab, to read its weights." : `${name(node)}: ${words.join(", ") || "no weight that is drawn"}`;
    };
    for (const [node, element] of nodes) {
      for (const event of ["pointerenter", "focus"]) element.addEventListener(event, () => light(node));
      for (const event of ["pointerleave", "blur"]) element.addEventListener(event, () => light(null));
    }
    light(null);
    new ResizeObserver(layOut).observe(columns);
    section.querySelectorAll(".crops img").forEach((image) => image.addEventListener("load", layOut));
    layOut();
  }

  // ---- The page --------------------------------------------------------------------------------

  function startTheme(root) {
    const button = root.querySelector(".theme");
    if (!button) return;
    const system = matchMedia("(prefers-color-scheme: dark)");
    const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
    const label = () => {
      button.textContent = isDark() ? "Light" : "Dark";
      button.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colors`);
    };
    button.hidden = false;
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      label();
    });
    system.addEventListener("change", label);
    label();
  }

  function start(root) {
    root.dataset.started = "";
    const { films, results, colors } = JSON.parse(root.querySelector(".ssvep-data").textContent);
    root.querySelectorAll("[data-mark]").forEach((svg) => paint(svg, svg.dataset.mark));
    const screens = films.map((film) => new Screen(film));
    root.querySelectorAll("[data-film]").forEach((element) => {
      const number = Number(element.dataset.film);
      startFilm(element, films[number], screens[number], colors);
    });
    root.querySelectorAll("[data-result]").forEach((section) => {
      const block = results[Number(section.dataset.result)];
      if (block.kind === "circuit") {
        drawCircuit(section, block);
        return;
      }
      if (block.maps?.channels) block.maps.channels.colors = colors;
      explore(section, block, films[block.film] ?? null, screens[block.film] ?? null);
    });
    startTheme(root);
  }

  document.querySelectorAll(".ssvep:not([data-started])").forEach((root) => {
    if (root.querySelector(".ssvep-data")) start(root);
  });
})();
