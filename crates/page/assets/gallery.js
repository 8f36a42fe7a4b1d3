// Photos with their maps: a row per photo (or a wall of tiles that open one), under common controls.

// The colours of a map, between its lowest and its highest value.
const scaleOf = (map, [low, high] = [map.low, map.high]) =>
  make("span", { class: map.signed ? "scale signed" : "scale" }, make("span", {}, number(low)), make("i"), make("span", {}, number(high)));

// A number of a class: a share of 1, or what stands for itself, as a similarity or a count.
const valueOf = (photo, value) => (photo.plain ? number(value) : percent(value));

// One photo and its maps, linked: one cursor, one zoom, one class.
class Exhibit {
  constructor(gallery, photo, level) {
    Object.assign(this, { gallery, photo, level, view: 0, oneScale: false, zoom: { scale: 1, x: 0.5, y: 0.5 }, cursor: null, panes: [], built: false });
    this.element = make("article", { class: "photo", "data-photo": photo.name });
    // A page of one photo has its name on top already.
    const twice = document.querySelector("h1").textContent === photo.name && gallery.photos.length === 1;
    this.title = make(level, { id: fresh("photo"), class: twice ? "unseen" : null }, photo.name);
    this.element.setAttribute("aria-labelledby", this.title.id);
    this.element.append(make("div", { class: "bar" }, this.title));
  }

  build() {
    if (this.built) return;
    this.built = true;
    const { photo } = this;
    const side = make("div", { class: "side" });
    const several = photo.views.length > 1;
    const first = several && photo.views.length <= 4 ? "all" : 0;
    if (several) {
      const classes = [...photo.views.map((view, i) => [i, view.title]), ["all", "Side by side"]];
      side.append(choice("Class", "class", classes, first, (which) => this.show(which)));
      this.scales = choice("Scale", "scale", [["own", "Each map's own"], ["one", "One for all classes"]], "own", (which) => {
        this.oneScale = which === "one";
        this.show(this.view);
      });
      side.append(this.scales);
    }
    this.shownScale = make("output", { "aria-live": "off" }, "100%");
    const button = (text, words, run) => make("button", { type: "button", "aria-label": `${words}: ${photo.name}`, title: words, onclick: run }, text);
    side.append(
      make(
        "span",
        { class: "zoom" },
        button("−", "Zoom out", () => this.zoomBy(1 / 1.6)),
        this.shownScale,
        button("+", "Zoom in", () => this.zoomBy(1.6)),
        button("↺", "Reset the zoom", () => this.zoomTo({ scale: 1, x: 0.5, y: 0.5 })),
      ),
    );
    this.title.parentElement.append(side);
    this.classes = make("div", { class: "classes" });
    this.status = make("div", { class: "unseen", role: "status" });
    this.element.append(this.classes, this.status);
    if (photo.remark) this.element.append(make("p", { class: "remark" }, photo.remark));
    this.show(first);
  }

  // The maps of one class, by its place; or of "all", a row per class.
  show(which) {
    this.view = which;
    this.forget();
    const all = which === "all";
    const views = all ? this.photo.views : [this.photo.views[which]];
    if (this.scales) this.scales.hidden = !all;
    const rows = views.map((view, place) => {
      const maps = this.row(view, place === 0);
      if (!all) return maps;
      const title = make(this.level === "h2" ? "h3" : "h4", { id: fresh("class") }, view.title, make("span", { class: "quiet" }, ` ${valueOf(this.photo, view.probability)}`));
      return make("section", { class: "ofclass", "aria-labelledby": title.id }, title, maps);
    });
    // More than a row: on paper it may go on on the next sheet.
    this.element.classList.toggle("many", all || this.panes.length > 6);
    this.classes.replaceChildren(...rows);
    this.read();
  }

  // The photo and a map per column.
  row(view, first) {
    const columns = this.photo.columns ?? this.gallery.columns;
    const range = (place) => (this.oneScale && this.view === "all" ? this.rangeOf(place) : undefined);
    const panes = [this.pane("Photo", null, view, null, first), ...view.maps.map((map, i) => this.pane(columns[i].name, map, view, columns[i], first, range(i)))];
    const maps = make("div", { class: "maps" }, ...panes);
    maps.style.setProperty("--count", panes.length);
    return maps;
  }

  // The lowest and the highest shown value of a column in all classes.
  rangeOf(place) {
    const maps = this.photo.views.map((view) => view.maps[place]).filter((map) => map && !map.error);
    return maps.length ? [Math.min(...maps.map((map) => map.low)), Math.max(...maps.map((map) => map.high))] : undefined;
  }

  forget() {
    for (const pane of this.panes) this.gallery.painter.remove(pane);
    this.panes = [];
  }

  pane(name, map, view, column, first, range) {
    const { photo, gallery } = this;
    const figure = make("figure", { class: "map" });
    const aside = map?.seconds ? duration(map.seconds) : map ? null : `${photo.width} × ${photo.height}`;
    const body = make("div", { class: "body" });
    figure.append(make("figcaption", {}, make("span", { title: column?.note }, name), aside ? make("span", { class: "quiet" }, aside) : null), body);
    if (map?.error) {
      const box = make("div", { class: "missing" }, map.error);
      box.style.aspectRatio = this.aspect();
      body.append(box);
      return figure;
    }
    const words = map
      ? `${name}: map of ${photo.name} for ${view.title}. ${this.peak(map)}Arrow keys read values, plus and minus zoom, shift and arrows move.`
      : `The photo ${photo.name}. Arrow keys move the cursor, plus and minus zoom, shift and arrows move.`;
    const canvas = make("canvas", { class: "view", role: "img", tabindex: 0, "aria-label": words });
    canvas.style.aspectRatio = this.aspect();
    const reading = make("span", { class: "reading", "aria-hidden": "true" });
    const pane = { canvas, photo, map, name, range, heard: this.view === "all" ? `${view.title}, ${name}` : name, reading, draw: () => this.draw(pane), visible: false, dirty: true };
    this.panes.push(pane);
    gallery.painter.add(pane);
    if (!gallery.large) pane.soil();
    this.listen(canvas);
    body.append(canvas);
    if (map) body.append(scaleOf(map, range));
    body.append(reading);
    if (map) body.append(...this.below(map, view, pane));
    else if (first && photo.top.length) body.append(this.guesses(view));
    return figure;
  }

  aspect() {
    const frame = frameOf(this.photo, this.gallery.look.whole);
    return String(clamp(frame.width / frame.height, 0.62, 1.9));
  }

  peak(map) {
    if (!map.peak) return "";
    const [x, y] = map.peak.map((at) => `${Math.round(at * 100)}%`);
    return `Highest ${number(map.max)} at ${x} from the left and ${y} from the top. `;
  }

  guesses(view) {
    const bar = (p) => {
      const svg = make("svg:svg", { viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true" });
      svg.append(make("svg:rect", { width: Math.max(p * 100, 0.4), height: 4 }));
      return svg;
    };
    const { photo, gallery } = this;
    const shown = (guess) => (this.view === "all" ? photo.views.some((one) => one.class === guess.class) : guess.class === view.class);
    const label = ({ label: text, class: at }) => {
      const ask = gallery.ask?.(photo, at);
      return ask && !photo.views.some((one) => one.class === at)
        ? make("button", { type: "button", title: `Explain ${text}`, onclick: ask }, text)
        : make("span", { title: text }, text);
    };
    const item = (guess) =>
      make("li", { class: shown(guess) ? "shown" : null }, label(guess), make("span", {}, valueOf(photo, guess.probability)), photo.plain ? null : bar(guess.probability));
    // The class that is explained, wherever it comes.
    const top = photo.top.some((guess) => guess.class === view.class) ? photo.top : [...photo.top, { class: view.class, label: view.title, probability: view.probability }];
    return make("ul", { class: "guesses", "aria-label": photo.plain ? "What the network gives" : "Most probable classes" }, ...top.map(item));
  }

  // What stands under a map: its curves, its measures, remarks, files.
  below(map, view, pane) {
    const parts = [];
    const best = (name) => {
      const all = view.maps.flatMap((other) => other.measures?.filter((m) => m.name === name && m.better) ?? []);
      const values = all.map((m) => m.value);
      return all.length < 2 ? NaN : all[0].better === "higher" ? Math.max(...values) : Math.min(...values);
    };
    if (map.curves?.length) {
      const areas = (map.measures ?? []).map((m) => `${m.name} ${number(m.value)}`).join(", ");
      const svg = make("svg:svg", { class: "plot", role: "img", "aria-label": `${this.photo.plain ? "The value" : "Probability"} as the most important pixels appear and vanish: ${areas}` });
      // What is no probability has the range of all curves beside it.
      const y_range = this.photo.plain ? extent(view.maps.flatMap((one) => one.curves ?? []).flatMap((c) => c.y)) : [0, 1];
      const chart = { series: map.curves.map((c, i) => ({ ...c, color: i })), x_range: [0, 1], y_range };
      let frame = null;
      const size = () => { if (svg.clientWidth) frame = plot(svg, chart, { small: true }); };
      new ResizeObserver(size).observe(svg);
      follow(svg, () => frame, (x) => {
        if (x === null) this.read();
        else {
          const values = chart.series.map((s) => `${s.name} ${number(valueAt(s.x, s.y, x) ?? NaN)}`);
          pane.reading.replaceChildren(make("b", {}, values.join(" · ")), ` at ${Math.round(x * 100)}% of the pixels`);
        }
      });
      parts.push(make("div", { class: "curve" }, svg));
    }
    if (map.measures?.length) {
      const key = (m) => {
        const at = map.curves?.findIndex((c) => c.name === m.name) ?? -1;
        return at < 0 ? null : make("i", { class: `key s${at}${map.curves[at].dashed ? " dash" : ""}` });
      };
      const item = (m) => make("li", { class: m.value.toFixed(3) === best(m.name).toFixed(3) ? "best" : null }, key(m), `${m.name} `, make("b", {}, m.value.toFixed(3)));
      parts.push(make("ul", { class: "measures" }, ...map.measures.map(item)));
    }
    if (map.remark) parts.push(make("p", { class: "remark" }, map.remark));
    if (map.files?.length) parts.push(make("div", { class: "save" }, ...map.files.map((f) => make("a", { href: f.href, download: f.name }, f.text))));
    return parts;
  }

  window(canvas) {
    const frame = frameOf(this.photo, this.gallery.look.whole);
    return windowOf(frame, canvas.clientWidth / Math.max(canvas.clientHeight, 1), this.zoom);
  }

  draw(pane) {
    const { look } = this.gallery;
    paint(pane, look, this.window(pane.canvas), this.cursor);
  }

  soil() {
    for (const pane of this.panes) pane.soil();
  }

  reframe() {
    for (const pane of this.panes) pane.canvas.style.aspectRatio = this.aspect();
    this.soil();
  }

  // The numbers under the maps.
  read(aloud = false) {
    const { photo, cursor, gallery } = this;
    const heard = [];
    for (const { map, heard: name, reading } of this.panes) {
      if (!cursor) {
        reading.replaceChildren();
        continue;
      }
      const place = `x ${Math.floor(cursor.x)}, y ${Math.floor(cursor.y)}`;
      if (!map) {
        reading.replaceChildren(place);
        heard.push(place);
        continue;
      }
      const values = peek(map, gridOf, () => this.read());
      const value = values ? valueIn(map, values, photo, cursor.x, cursor.y, gallery.look.smooth) : null;
      const text = value === null ? "not seen by the network" : number(value);
      reading.replaceChildren(make("b", {}, text), ` at ${place}`);
      heard.push(`${name} ${text}`);
    }
    this.status.textContent = aloud ? heard.join(", ") : "";
  }

  pointAt(cursor, aloud = false) {
    this.cursor = cursor;
    this.read(aloud);
    this.soil();
  }

  place(event) {
    const box = event.currentTarget.getBoundingClientRect();
    const view = this.window(event.currentTarget);
    const [u, v] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    return { x: view.left + u * view.width, y: view.top + v * view.height };
  }

  zoomTo(zoom) {
    const scale = clamp(zoom.scale, 1, 32);
    this.zoom = { scale, x: clamp(zoom.x, 0, 1), y: clamp(zoom.y, 0, 1) };
    this.shownScale.textContent = `${Math.round(scale * 100)}%`;
    for (const { canvas } of this.panes) canvas.classList.toggle("near", scale > 1);
    this.soil();
  }

  // Zooms about a place of the photo, which stays where it is on the screen.
  zoomBy(factor, about = this.cursor) {
    const frame = frameOf(this.photo, this.gallery.look.whole);
    const scale = clamp(this.zoom.scale * factor, 1, 32);
    const keep = this.zoom.scale / scale;
    const share = about ? { x: (about.x - frame.left) / frame.width, y: (about.y - frame.top) / frame.height } : this.zoom;
    this.zoomTo({ scale, x: share.x + (this.zoom.x - share.x) * keep, y: share.y + (this.zoom.y - share.y) * keep });
  }

  panBy(dx, dy) {
    this.zoomTo({ scale: this.zoom.scale, x: this.zoom.x + dx / this.zoom.scale, y: this.zoom.y + dy / this.zoom.scale });
  }

  listen(canvas) {
    const fingers = new Map();
    const spread = () => { const [a, b] = [...fingers.values()]; return Math.hypot(a.x - b.x, a.y - b.y); };
    canvas.addEventListener("pointerdown", (event) => {
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      if (this.zoom.scale > 1 || fingers.size > 1) canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      const before = fingers.get(event.pointerId);
      if (before) {
        const old = fingers.size === 2 ? spread() : 0;
        fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
        if (fingers.size === 2 && old > 0) this.zoomBy(spread() / old);
        else if (this.zoom.scale > 1) {
          const box = canvas.getBoundingClientRect();
          this.panBy((before.x - event.clientX) / box.width, (before.y - event.clientY) / box.height);
        }
      }
      const place = this.place(event);
      const inside = place.x >= 0 && place.y >= 0 && place.x < this.photo.width && place.y < this.photo.height;
      this.pointAt(inside ? place : null);
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => fingers.delete(event.pointerId));
    canvas.addEventListener("pointerleave", () => this.pointAt(null));
    canvas.addEventListener("dblclick", (event) => this.zoomBy(2, this.place(event)));
    canvas.addEventListener(
      "wheel",
      (event) => {
        if (!event.ctrlKey && !event.metaKey) return;
        event.preventDefault();
        this.zoomBy(Math.exp(-event.deltaY * 0.004), this.place(event));
      },
      { passive: false },
    );
    canvas.addEventListener("keydown", (event) => {
      const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (arrow && event.shiftKey) this.panBy(arrow[0] * 0.1, arrow[1] * 0.1);
      else if (arrow) {
        const view = this.window(canvas);
        const from = this.cursor ?? { x: view.left + view.width / 2, y: view.top + view.height / 2 };
        const step = Math.max(view.width / 40, 1);
        const to = { x: clamp(from.x + arrow[0] * step, 0, this.photo.width - 0.5), y: clamp(from.y + arrow[1] * step, 0, this.photo.height - 0.5) };
        this.pointAt(to, true);
      } else if (event.key === "+" || event.key === "=") this.zoomBy(1.6);
      else if (event.key === "-") this.zoomBy(1 / 1.6);
      else if (event.key === "0") this.zoomTo({ scale: 1, x: 0.5, y: 0.5 });
      else if (event.key === "Escape" && this.cursor) this.pointAt(null);
      else return;
      event.preventDefault();
      if (event.key === "Escape") event.stopPropagation();
    });
    canvas.addEventListener("blur", () => { if (this.cursor) this.pointAt(null); });
  }
}

class Gallery {
  constructor(holder, part) {
    Object.assign(this, part);
    this.holder = holder;
    this.look = { colormap: "viridis", opacity: 0.55, threshold: 0, smooth: true, whole: part.whole ?? true, ...part.look };
    const tiles = this.groups.reduce((count, group) => count + group.photos.length, 0);
    this.large = tiles ? tiles > 400 : this.photos.length > 40;
    this.painter = new Painter(this.large);
    this.exhibits = [];
    // Headings go on from the section's, or from the page's where the section has none.
    this.level = holder.parentElement.querySelector(":scope > h2") ? "h3" : "h2";
    this.near = new IntersectionObserver(
      (entries) => entries.forEach(({ target, isIntersecting }) => { if (isIntersecting) { this.near.unobserve(target); target.exhibit.build(); } }),
      { rootMargin: "800px 0px" },
    );
    holder.append(this.tools());
    if (this.groups.length) this.hang();
    else this.list();
    this.absent = make("p", { class: "onpaper" });
    holder.append(this.absent);
    addEventListener("beforeprint", () => this.toPaper());
  }

  tools() {
    const redraw = () => { this.painter.soilAll(); this.drawStrip(); };
    this.strip = make("canvas", { class: "strip", width: 256, height: 1, "aria-hidden": "true" });
    const names = Object.keys(data.colormaps).filter((name) => name !== "diverging");
    const colors = make("select", { "data-tool": "colormap", onchange: () => { this.look.colormap = colors.value; redraw(); } }, ...options(names.map((n) => [n, n]), this.look.colormap));
    const box = tool("Colours, low to high", colors);
    colors.remove();
    box.append(make("div", { class: "row" }, colors, this.strip));
    box.classList.add("wide");
    const bar = make("div", { class: "tools", role: "group", "aria-label": "How maps are drawn" });
    bar.append(
      box,
      slider("Opacity", "opacity", Math.round(this.look.opacity * 100), (v) => `${v}%`, (v) => { this.look.opacity = v / 100; redraw(); }),
      slider("Hide below", "threshold", Math.round(this.look.threshold * 100), (v) => `${v}% of the range`, (v) => { this.look.threshold = v / 100; redraw(); }),
      choice("Interpolation", "smooth", [["smooth", "Smooth"], ["cells", "Cells"]], this.look.smooth ? "smooth" : "cells", (v) => { this.look.smooth = v === "smooth"; redraw(); this.exhibits.forEach((e) => e.built && e.read()); }),
      choice("Show", "frame", [["photo", "Whole photo"], ["seen", "What the network saw"]], this.look.whole ? "photo" : "seen", (v) => { this.look.whole = v === "photo"; this.reframe(); }),
    );
    if (this.groups.length) {
      const tile = slider("Tile size", "tile", 30, () => "", (v) => { this.holder.style.setProperty("--tile", `${80 + v * 3}px`); });
      bar.append(tile);
      this.holder.style.setProperty("--tile", "170px");
      if (this.groups.length > 1) {
        const all = [["all", `All ${this.groups.length}`], ...this.groups.map((group, i) => [String(i), group.title])];
        const pick = make("select", { "data-tool": "group", onchange: () => this.pick(pick.value) }, ...options(all, "all"));
        bar.append(tool(this.group_name ?? "Group", pick));
        if (this.crosses()) {
          const ways = [["group", `By ${(this.group_name ?? "group").toLowerCase()}`], ["photo", "By photo"]];
          bar.append(choice("Arrange", "arrange", ways, "group", (how) => { [pick.value, pick.disabled] = ["all", how === "photo"]; this.arrange(how); }));
        }
      }
    }
    if (this.photos.length > 3 && !this.groups.length) {
      const [most, least] = this.photos.every((photo) => photo.plain) ? ["highest first", "lowest first"] : ["most probable first", "least probable first"];
      const orders = [["given", "as given"], ["name", "name"], ["probability", most], ["improbable", least]];
      const order = make("select", { "data-tool": "order", onchange: () => this.sort(order.value) }, ...options(orders, "given"));
      bar.append(tool("Order", order));
    }
    if (this.photos.length > 12) {
      const find = make("input", { type: "search", "data-tool": "find", placeholder: "name or class", oninput: () => this.find(find.value) });
      this.count = make("output", { class: "quiet" }, "");
      bar.append(tool("Find", find, this.count));
    }
    this.drawStrip();
    return bar;
  }

  drawStrip() {
    const image = new ImageData(256, 1);
    const pixels = new Uint32Array(image.data.buffer);
    pixels.set(lutOf(this.look.colormap).colors);
    pixels.fill(0, 0, Math.ceil(this.look.threshold * 255));
    this.strip.getContext("2d").putImageData(image, 0, 0);
    this.holder.style.setProperty("--ramp", lutOf(this.look.colormap).gradient);
    this.holder.style.setProperty("--signed", lutOf("diverging").gradient);
  }

  // Draws what can be drawn at once, and leaves out what cannot: a photo without its map would say that there is nothing.
  toPaper() {
    this.painter.drawAll();
    const all = this.groups.length ? this.tiles : this.exhibits;
    let absent = 0;
    for (const { element } of all) {
      const canvases = [...element.querySelectorAll("canvas")];
      const drawn = canvases.length > 0 && canvases.every((canvas) => canvas.dataset.state === "drawn");
      element.classList.toggle("undrawn", !drawn);
      if (!drawn && !element.hidden) absent += 1;
    }
    this.absent.textContent = absent ? `${absent} of ${all.length} are left out on paper: a page of so many draws those that have been in view.` : "";
  }

  reframe() {
    for (const exhibit of this.exhibits) if (exhibit.built) exhibit.reframe();
    this.open?.reframe();
    this.painter.soilAll();
  }

  // A row per photo.
  list() {
    this.rows = make("div", { class: "photos" });
    this.holder.append(this.rows);
    for (const photo of this.photos) this.append(photo);
  }

  append(photo, first = false) {
    const exhibit = new Exhibit(this, photo, this.level);
    exhibit.element.exhibit = exhibit;
    this.exhibits.push(exhibit);
    if (first) this.rows.prepend(exhibit.element);
    else this.rows.append(exhibit.element);
    if (this.large) this.near.observe(exhibit.element);
    else {
      exhibit.build();
    }
    return exhibit;
  }

  sort(order) {
    const probability = (exhibit) => exhibit.photo.views[0]?.probability ?? 0;
    const sorted = [...this.exhibits];
    if (order === "name") sorted.sort((a, b) => a.photo.name.localeCompare(b.photo.name));
    if (order === "probability") sorted.sort((a, b) => probability(b) - probability(a));
    if (order === "improbable") sorted.sort((a, b) => probability(a) - probability(b));
    this.rows.append(...sorted.map((exhibit) => exhibit.element));
  }

  matches(photo, words) {
    const text = [photo.name, ...photo.views.map((v) => v.title), ...photo.top.slice(0, 1).map((g) => g.label)].join(" ").toLowerCase();
    return text.includes(words.trim().toLowerCase());
  }

  find(words) {
    let shown = 0;
    const all = this.groups.length ? this.tiles : this.exhibits;
    for (const one of all) {
      one.element.hidden = !this.matches(one.photo, words);
      if (!one.element.hidden) shown += 1;
    }
    this.count.textContent = words ? `${shown} of ${all.length}` : "";
    if (this.by === "photo") for (const wall of this.walls) wall.hidden = !wall.querySelector("li:not([hidden])");
  }

  pick(which) {
    for (const [i, section] of this.walls.entries()) section.hidden = which !== "all" && which !== String(i);
    this.painter.soilAll();
  }

  // Walls of tiles, one per group.
  hang() {
    this.dialog = make("dialog", { "aria-label": "One photo" });
    this.dialog.addEventListener("close", () => { this.open?.forget(); this.open = null; this.dialog.replaceChildren(); this.from?.focus(); });
    this.dialog.addEventListener("click", (event) => { if (event.target === this.dialog) this.dialog.close(); });
    this.hung = make("div");
    this.holder.append(this.hung, this.dialog);
    this.arrange("group");
  }

  // Whether every group shows the same photos in another column, so that a photo's maps can stand side by side.
  crosses() {
    const [first, ...rest] = this.groups;
    const same = (group) => group.column !== first.column && group.photos.length === first.photos.length && group.photos.every((photo, i) => photo === first.photos[i]);
    return rest.length > 0 && rest.every(same);
  }

  // A wall per group; or per photo, with the photo and its map in every group.
  arrange(how) {
    this.tiles?.forEach(({ pane }) => this.painter.remove(pane));
    [this.tiles, this.by] = [[], how];
    const wall = (name, note, tiles) => {
      const title = make(this.level, { id: fresh("group") }, name);
      return make("section", { class: "group", "aria-labelledby": title.id }, title, note ? make("p", {}, note) : null, make("ul", { class: "wall" }, ...tiles));
    };
    const byGroup = (group) => {
      const tile = (index, place) => this.tile(group.photos, place, group.column, this.photos[index].name, group.captions?.[place] ?? valueOf(this.photos[index], this.photos[index].views[0].probability));
      return wall(group.title, group.note, group.photos.map(tile));
    };
    const byPhoto = (index, place) => {
      const { photos } = this.groups[0];
      const tile = ({ column, title }) => this.tile(photos, place, column, title, "");
      const photo = this.photos[index];
      return wall(photo.name, valueOf(photo, photo.views[0].probability), [{ column: null, title: "Photo" }, ...this.groups].map(tile));
    };
    this.walls = how === "photo" ? this.groups[0].photos.map(byPhoto) : this.groups.map(byGroup);
    this.hung.replaceChildren(...this.walls);
  }

  // A small picture of the photo at `place` of `photos`, with the map of a column or alone; it opens the photo's row.
  tile(photos, place, column, name, caption) {
    const photo = this.photos[photos[place]];
    const map = column === null ? null : photo.views[0].maps[column];
    const canvas = make("canvas", { "aria-hidden": "true" });
    const button = make("button", { type: "button", class: "tile", onclick: () => this.enlarge(photos, place, button) });
    // What is written is what the button is called, and then what it does.
    button.append(canvas, make("span", { class: "under" }, make("span", { title: name }, name), " ", make("b", {}, caption)));
    button.append(make("span", { class: "unseen" }, `${map?.error ? `, ${map.error}` : ""}: show all maps`));
    if (map && !map.error) {
      const scale = scaleOf(map);
      scale.setAttribute("aria-hidden", "true");
      button.append(scale);
    }
    const pane = {
      canvas, photo, map, visible: false, dirty: true,
      draw: () => paint(pane, this.look, windowOf(frameOf(photo, this.look.whole), 1, { scale: 1, x: 0.5, y: 0.5 }), null),
    };
    this.painter.add(pane);
    if (!this.large) pane.soil();
    const element = make("li", {}, button);
    this.tiles.push({ element, photo, pane });
    return element;
  }

  enlarge(photos, place, from) {
    if (from) this.from = from;
    this.open?.forget();
    const photo = this.photos[photos[place]];
    const exhibit = new Exhibit(this, photo, "h2");
    this.open = exhibit;
    const go = (step) => () => this.enlarge(photos, (place + step + photos.length) % photos.length);
    const button = (text, words, run) => make("button", { type: "button", "aria-label": words, onclick: run }, text);
    const close = button("Close", "Close", () => this.dialog.close());
    const arrows = photos.length > 1 ? [button("← Previous", "Previous photo", go(-1)), button("Next →", "Next photo", go(1))] : [];
    this.dialog.replaceChildren(make("div", { class: "close" }, ...arrows, close), exhibit.element);
    exhibit.build();
    if (!this.dialog.open) this.dialog.showModal();
    close.focus();
  }
}
