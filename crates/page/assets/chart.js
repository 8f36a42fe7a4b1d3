// Line charts in SVG: axes, lines, bands, dots, a rule that follows the pointer, and words for those who cannot see it.

const ticksOf = (low, high, count) => {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.999) ?? power * 10;
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-6; k += 1) ticks.push(Number((k * step).toPrecision(12)));
  return ticks;
};

const extent = (values) => {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (!(low <= high)) return [0, 1];
  return low === high ? [low - 0.5, high + 0.5] : [low, high];
};

// The y of a line at x, linear between its points.
const valueAt = (xs, ys, x) => {
  if (!xs.length || x < xs[0] || x > xs[xs.length - 1]) return null;
  let [a, b] = [0, xs.length - 1];
  while (b - a > 1) {
    const middle = (a + b) >> 1;
    if (xs[middle] <= x) a = middle;
    else b = middle;
  }
  return xs[b] === xs[a] ? ys[a] : ys[a] + ((ys[b] - ys[a]) * (x - xs[a])) / (xs[b] - xs[a]);
};

// Draws into an <svg> of the size it has now. `chart`: { series: [{ name, x, y, low, high, dots, dashed, color }], x_name,
// y_name, x_range, y_range, diagonal }.
const plot = (svg, chart, { small = false } = {}) => {
  const width = Math.max(svg.clientWidth, 80);
  const height = Math.max(svg.clientHeight, 40);
  const [left, right, top, bottom] = small ? [24, 4, 6, 16] : [46, 10, 8, 38];
  const all = (key) => chart.series.flatMap((series) => series[key] ?? []);
  const [x0, x1] = chart.x_range ?? extent(all("x"));
  const [y0, y1] = chart.y_range ?? extent([...all("y"), ...all("low"), ...all("high")]);
  const across = (x) => left + ((x - x0) / (x1 - x0)) * (width - left - right);
  const up = (y) => height - bottom - ((y - y0) / (y1 - y0)) * (height - top - bottom);
  const text = (x, y, anchor, words) => make("svg:text", { x, y, "text-anchor": anchor }, words);
  const parts = [];
  const plain = (tick) => String(Number(tick.toPrecision(6)));
  for (const tick of ticksOf(x0, x1, small ? 2 : 6)) {
    const x = across(tick);
    if (!small) parts.push(make("svg:path", { class: "axis", d: `M${x} ${top}V${height - bottom}` }));
    const anchor = small && x > width - right - 8 ? "end" : "middle";
    parts.push(text(anchor === "end" ? width - right : x, height - bottom + 13, anchor, plain(tick)));
  }
  for (const tick of ticksOf(y0, y1, small ? 2 : 5)) {
    const y = up(tick);
    parts.push(make("svg:path", { class: "axis", d: `M${left} ${y}H${width - right}` }));
    parts.push(text(left - 5, y + 4, "end", plain(tick)));
  }
  if (!small) {
    if (chart.x_name) parts.push(text((left + width - right) / 2, height - 4, "middle", chart.x_name));
    if (chart.y_name) parts.push(make("svg:text", { "text-anchor": "middle", transform: `translate(11 ${(top + height - bottom) / 2}) rotate(-90)` }, chart.y_name));
  }
  if (chart.diagonal) {
    const [low, high] = [Math.max(x0, y0), Math.min(x1, y1)];
    parts.push(make("svg:path", { class: "rule", d: `M${across(low)} ${up(low)}L${across(high)} ${up(high)}` }));
  }
  const path = (xs, ys) => xs.map((x, i) => `${i ? "L" : "M"}${across(x).toFixed(1)} ${up(ys[i]).toFixed(1)}`).join("");
  for (const [index, series] of chart.series.entries()) {
    const color = (series.color ?? index) % 8;
    if (series.low) {
      const back = [...series.x].reverse();
      const d = `${path(series.x, series.high)}${path(back, [...series.low].reverse()).replace("M", "L")}Z`;
      parts.push(make("svg:path", { class: `band f${color}`, d }));
    }
    if (series.dots) {
      for (const [i, x] of series.x.entries()) parts.push(make("svg:circle", { class: `f${color}`, cx: across(x).toFixed(1), cy: up(series.y[i]).toFixed(1), r: 2.6, opacity: 0.75 }));
    } else {
      parts.push(make("svg:path", { class: `line s${color}`, d: path(series.x, series.y), "stroke-dasharray": series.dashed ? "5 4" : null }));
    }
  }
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren(...parts);
  return { x0, x1, across, left, right, top, bottom, width, height };
};

// A rule under the pointer; `tell` hears the x there, or null.
const follow = (svg, frame, tell) => {
  let rule = null;
  const show = (x) => {
    rule?.remove();
    rule = null;
    if (x !== null) {
      const { across, top, bottom, height } = frame();
      rule = make("svg:path", { class: "rule", d: `M${across(x)} ${top}V${height - bottom}` });
      svg.append(rule);
    }
    tell(x);
  };
  svg.addEventListener("pointermove", (event) => {
    const { x0, x1, left, right, width } = frame();
    const box = svg.getBoundingClientRect();
    const part = (((event.clientX - box.left) / box.width) * width - left) / (width - left - right);
    show(x0 + clamp(part, 0, 1) * (x1 - x0));
  });
  svg.addEventListener("pointerleave", () => show(null));
  return show;
};

const buildChart = (holder, chart) => {
  const words = `${chart.title}. ${chart.series.map((s) => s.name).join(", ")}${chart.summary ? `. ${chart.summary}` : ""}`;
  const lines = chart.series.every((series) => !series.dots);
  const svg = make("svg:svg", { class: "plot", role: "img", "aria-label": words, height: 260, tabindex: lines ? 0 : null });
  const readings = chart.series.map(() => make("b"));
  const place = make("span", { class: "quiet" });
  const legend = make(
    "ul",
    { class: "legend" },
    ...chart.series.map((series, i) => make("li", {}, make("i", { class: `s${(series.color ?? i) % 8}${series.dashed ? " dash" : ""}` }), series.name, readings[i])),
    make("li", {}, place),
  );
  const table = () => {
    const [x0, x1] = chart.x_range ?? extent(chart.series.flatMap((s) => s.x));
    const at = Array.from({ length: 11 }, (_, k) => x0 + ((x1 - x0) * k) / 10);
    const cells = (x) => chart.series.map((s) => make("td", { class: "number" }, number(valueAt(s.x, s.y, x) ?? NaN)));
    return make(
      "div",
      { class: "scroll" },
      make(
        "table",
        {},
        make("thead", {}, make("tr", {}, make("th", { class: "number", scope: "col" }, chart.x_name ?? "x"), ...chart.series.map((s) => make("th", { class: "number", scope: "col" }, s.name)))),
        make("tbody", {}, ...at.map((x) => make("tr", {}, make("th", { class: "number", scope: "row" }, number(x)), ...cells(x)))),
      ),
    );
  };
  const details = lines ? make("details", {}, make("summary", {}, "Values")) : null;
  details?.addEventListener("toggle", () => { if (details.open && details.children.length === 1) details.append(table()); });
  holder.append(make("figure", { class: "chart" }, make("figcaption", {}, chart.title), svg, chart.series.length > 1 || lines ? legend : null, details));
  let frame = plot(svg, chart);
  new ResizeObserver(() => { frame = plot(svg, chart); }).observe(svg);
  if (!lines) return;
  const show = follow(svg, () => frame, (x) => {
    place.textContent = x === null ? "" : `at ${chart.x_name ?? "x"} ${number(x)}`;
    for (const [i, series] of chart.series.entries()) {
      const value = x === null ? null : valueAt(series.x, series.y, x);
      readings[i].textContent = value === null ? "" : number(value);
    }
  });
  let cursor = null;
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    cursor = clamp((cursor ?? frame.x0) + (step * (frame.x1 - frame.x0)) / 50, frame.x0, frame.x1);
    show(cursor);
  });
  svg.addEventListener("blur", () => { cursor = null; show(null); });
};

// A matrix in colours: rows have names, columns an axis.
const buildHeat = async (holder, heat) => {
  const { width, height } = heat.map;
  const values = await gridOf(heat.map);
  let colormap = heat.map.signed ? "diverging" : "viridis";
  const canvas = make("canvas", { class: "cells", role: "img", tabindex: 0 });
  canvas.setAttribute("aria-label", `${heat.title}. ${height} rows, ${width} columns${heat.summary ? `. ${heat.summary}` : ""}. Arrow keys read single values.`);
  const reading = make("output", { class: "reading", "aria-live": "polite" });
  const scale = make("i");
  const { low, high } = heat.map;
  const paint = () => {
    const lut = lutOf(colormap);
    canvas.width = width;
    canvas.height = height;
    const image = new ImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    for (let i = 0; i < values.length; i += 1) {
      const part = high > low ? (values[i] - low) / (high - low) : heat.map.signed ? 0.5 : 0;
      pixels[i] = lut.colors[clamp(Math.round(part * 255), 0, 255)];
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
    scale.style.background = lut.gradient;
  };
  const rowHeight = clamp(Math.round(300 / height), 9, 22);
  canvas.style.height = `${rowHeight * height}px`;
  const names = make("div", { class: "rows", "aria-hidden": "true" }, ...heat.rows.map((row) => make("span", { title: row }, row)));
  names.style.gridTemplateRows = `repeat(${height}, ${rowHeight}px)`;
  const columnAt = (column) => heat.columns[0] + (width > 1 ? ((heat.columns[1] - heat.columns[0]) * column) / (width - 1) : 0);
  const read = (row, column) => {
    reading.replaceChildren(make("b", {}, number(values[row * width + column])), ` ${heat.rows[row] ?? `row ${row}`}, ${heat.x_name} ${number(columnAt(column))}`);
  };
  let cursor = [0, 0];
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    cursor = [
      clamp(Math.floor(((event.clientY - box.top) / box.height) * height), 0, height - 1),
      clamp(Math.floor(((event.clientX - box.left) / box.width) * width), 0, width - 1),
    ];
    read(...cursor);
  });
  canvas.addEventListener("pointerleave", () => reading.replaceChildren());
  canvas.addEventListener("keydown", (event) => {
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!move) return;
    event.preventDefault();
    cursor = [clamp(cursor[0] + move[0], 0, height - 1), clamp(cursor[1] + move[1], 0, width - 1)];
    read(...cursor);
  });
  const select = make("select", { onchange: (event) => { colormap = event.target.value; paint(); } }, ...options(Object.keys(data.colormaps).map((n) => [n, n]), colormap));
  holder.append(
    make(
      "figure",
      { class: "heat" },
      make("figcaption", {}, heat.title),
      make(
        "div",
        { class: "field" },
        names,
        canvas,
        make("div", { class: "ticks", "aria-hidden": "true" }, make("span", {}, number(heat.columns[0])), make("span", {}, number(heat.columns[1]))),
        make("div", { class: "axisname", "aria-hidden": "true" }, heat.x_name),
      ),
      make("div", { class: "scale" }, make("span", {}, number(low)), scale, make("span", {}, number(high))),
      reading,
      tool("Colours", select),
    ),
  );
  paint();
};
