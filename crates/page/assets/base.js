// What every part of a page uses. All files of this folder are joined into one script.

const SVG = "http://www.w3.org/2000/svg";

// An element with attributes, listeners (on…) and children; text is never read as markup.
const make = (name, attributes = {}, ...children) => {
  const element = name.startsWith("svg:") ? document.createElementNS(SVG, name.slice(4)) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "class") element.setAttribute("class", value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
};

let counter = 0;
const fresh = (word) => `${word}-${(counter += 1)}`;
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// Three significant digits; what is far from 1 in powers of ten.
const number = (value) => {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 0.01 && size < 1000) return value.toPrecision(3);
  if (size >= 1000 && size < 1e6) return String(Math.round(value));
  return value.toExponential(1).replace("e+", "e");
};
const duration = (seconds) => (seconds < 1 ? `${Math.max(Math.round(seconds * 1000), 1)} ms` : `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`);
const percent = (value) => (value > 0 && value < 5e-5 ? "< 0.01%" : `${(value * 100).toFixed(value > 0.0995 ? 1 : 2)}%`);

const bytesOf = (base64) => {
  const text = atob(base64.trim());
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) bytes[i] = text.charCodeAt(i);
  return bytes;
};

// Photos and large maps lie in elements of their own and are read when they come into view.
const blobOf = (id) => {
  const element = document.getElementById(`blob-${id}`);
  return { bytes: bytesOf(element.textContent), type: element.dataset.type };
};
const photoBitmap = async (image) => {
  const { bytes, type } = image.data ? { bytes: bytesOf(image.data), type: image.media } : blobOf(image.blob);
  return createImageBitmap(new Blob([bytes], { type }));
};

// The values of a map: `bits` per value between `min` and `max`, stored as differences along each row, low bytes before
// high bytes, deflated where that is shorter.
const gridOf = async (map) => {
  let bytes = map.data ? bytesOf(map.data) : blobOf(map.blob).bytes;
  if (map.deflated) {
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  }
  const { width, height, bits } = map;
  const count = width * height;
  const mask = bits === 16 ? 0xffff : 0xff;
  const step = (map.max - map.min) / mask;
  const values = new Float32Array(count);
  for (let row = 0; row < height; row += 1) {
    let sum = 0;
    for (let place = row * width; place < (row + 1) * width; place += 1) {
      sum = (sum + bytes[place] + (bits === 16 ? bytes[count + place] << 8 : 0)) & mask;
      values[place] = map.min + sum * step;
    }
  }
  return values;
};

// Colour maps: 256 colours each, as hexadecimal digits in the data.
const luts = {};
const lutOf = (name) => {
  if (!luts[name]) {
    const digits = data.colormaps[name];
    const colors = new Uint32Array(256);
    const css = [];
    for (let i = 0; i < 256; i += 1) {
      const [r, g, b] = [0, 2, 4].map((at) => parseInt(digits.slice(i * 6 + at, i * 6 + at + 2), 16));
      colors[i] = (255 << 24) | (b << 16) | (g << 8) | r;
      css.push(`rgb(${r} ${g} ${b})`);
    }
    const stops = css.filter((_, i) => i % 15 === 0);
    luts[name] = { colors, css, gradient: `linear-gradient(to right, ${stops.join(",")})` };
  }
  return luts[name];
};

const options = (pairs, chosen) => pairs.map(([value, text]) => make("option", { value, selected: value === chosen }, text));

// A control with its name above it.
const tool = (text, control, more) => {
  const id = control.id || (control.id = fresh("control"));
  const label = make("label", { for: id }, text);
  if (more) label.append(more);
  return make("div", { class: "tool" }, label, control);
};

// A few exclusive choices, as radio buttons that look like one control.
const choice = (text, name, pairs, chosen, onchange) => {
  const group = fresh(name);
  const buttons = pairs.map(([value, label]) =>
    make("label", {}, make("input", { type: "radio", name: group, value, checked: value === chosen, onchange: () => onchange(value) }), label),
  );
  return make("fieldset", { class: "tool", "data-tool": name }, make("legend", { class: "name" }, text), make("span", { class: "choice" }, ...buttons));
};

const slider = (text, name, value, show, oninput) => {
  const shown = make("output", {}, show(value));
  const input = make("input", { type: "range", min: 0, max: 100, step: 1, value, id: fresh(name), "data-tool": name });
  input.addEventListener("input", () => {
    shown.textContent = show(Number(input.value));
    oninput(Number(input.value));
  });
  return tool(text, input, shown);
};

// Dark or light: the system's choice until the reader makes one.
const setUpTheme = () => {
  const button = document.querySelector(".theme");
  if (!button) return;
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const remember = (theme) => {
    try { localStorage.setItem("faithful-theme", theme); } catch { /* pages from files may have no storage */ }
  };
  const label = () => { button.textContent = dark() ? "Light" : "Dark"; };
  try {
    const known = localStorage.getItem("faithful-theme");
    if (known === "dark" || known === "light") root.dataset.theme = known;
  } catch { /* as above */ }
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    remember(root.dataset.theme);
    label();
  });
  system.addEventListener("change", label);
  label();
};

// A field that hides what does not have its words in it; `textOf` gives what each says.
const filter = (words, all, textOf) => {
  const count = make("output", { class: "quiet" }, "");
  const find = make("input", { type: "search", "data-tool": "filter", placeholder: words });
  find.addEventListener("input", () => {
    const wanted = find.value.trim().toLowerCase();
    for (const one of all) one.hidden = !textOf(one).toLowerCase().includes(wanted);
    count.textContent = wanted ? `${all.filter((one) => !one.hidden).length} of ${all.length}` : "";
  });
  return tool("Find", find, count);
};

// Sections that are folded: what leads to one opens it, and several in a row are found and opened by common controls.
const setUpFolds = () => {
  const folds = [...document.querySelectorAll(".section.folded")];
  const detailsOf = (section) => section.querySelector(":scope > details");
  const reach = () => {
    const target = location.hash.length > 1 ? document.getElementById(decodeURIComponent(location.hash.slice(1))) : null;
    if (!target?.matches(".folded")) return;
    [target.hidden, detailsOf(target).open] = [false, true];
    target.scrollIntoView();
  };
  addEventListener("hashchange", reach);
  document.addEventListener("click", (event) => { if (event.target.closest?.("a[href^='#']")?.hash === location.hash) reach(); });
  const runs = folds.filter((section) => !section.previousElementSibling?.matches(".folded")).map((section) => {
    const run = [];
    for (let one = section; one?.matches(".folded"); one = one.nextElementSibling) run.push(one);
    return run;
  });
  for (const run of runs.filter((sections) => sections.length > 1)) {
    const button = (text, open) => make("button", { type: "button", onclick: () => run.forEach((section) => { detailsOf(section).open = open; }) }, text);
    const find = filter("a name, a fault", run, (section) => section.querySelector("h2").textContent);
    run[0].before(make("div", { class: "tools folds", role: "group", "aria-label": "Sections" }, find, button("Open all", true), button("Close all", false)));
  }
  // Paper has all of it.
  let closed = [];
  addEventListener("beforeprint", () => { closed = folds.map(detailsOf).filter((one) => !one.open); closed.forEach((one) => { one.open = true; }); });
  addEventListener("afterprint", () => closed.forEach((one) => { one.open = false; }));
  reach();
};

// Columns of tables sort by their headings, and long ones have a field that finds rows.
const setUpTables = () => {
  for (const table of document.querySelectorAll("table[data-sort]")) {
    const body = table.tBodies[0];
    if (body.rows.length > 12) table.closest(".scroll").before(make("div", { class: "find" }, filter("any word", [...body.rows], (row) => row.textContent)));
    for (const [column, heading] of [...table.tHead.rows[0].cells].entries()) {
      const button = make("button", { type: "button" }, ...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const down = heading.getAttribute("aria-sort") === "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        heading.setAttribute("aria-sort", down ? "descending" : "ascending");
        const key = (row) => {
          const cell = row.cells[column];
          const value = Number(cell.dataset.value ?? NaN);
          return Number.isNaN(value) ? cell.textContent : value;
        };
        const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
        const rows = [...body.rows].sort((a, b) => compare(key(a), key(b)) * (down ? -1 : 1));
        body.append(...rows);
      });
    }
  }
};
