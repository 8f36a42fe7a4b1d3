// A network as boxes and arrows: a row per step from the input on, boxes of branches beside each other, and what skips steps along the
// right edge. One box is looked at a time; arrow keys go along the arrows.

class Diagram {
  // `choose`, where there is one, hears the name of a block that was chosen.
  constructor(holder, { blocks }, choose = null) {
    Object.assign(this, { blocks, choose });
    [this.width, this.height, this.across, this.down, this.left] = [190, 44, 18, 20, 104];
    this.users = blocks.map(() => []);
    blocks.forEach((block, i) => block.inputs.forEach((input) => this.users[input].push(i)));
    this.place();
    this.sheet = make("div", { class: "sheet" }, this.edges(), ...this.bands(), ...blocks.map((block, i) => this.box(block, i)));
    [this.sheet.style.width, this.sheet.style.height] = [`${this.size[0]}px`, `${this.size[1]}px`];
    this.scroll = make("div", { class: "diagram", role: "group", "aria-label": `The network's ${blocks.length} layers, from the input on` }, this.sheet);
    this.told = make("div", { class: "told", "aria-live": "polite" });
    const start = Math.max(blocks.findIndex((block) => block.target), 0);
    holder.append(make("div", { class: "tools diagramtools" }, this.finder()), make("div", { class: "looked" }, this.scroll, this.told));
    this.look(start, false);
    this.center(start);
  }

  // Every block's row is one below its lowest input; blocks of a row stand under what they come from.
  place() {
    const { blocks } = this;
    const rank = [];
    blocks.forEach((block, i) => { rank[i] = block.inputs.length ? 1 + Math.max(...block.inputs.map((input) => rank[input])) : 0; });
    const rows = Array.from({ length: Math.max(...rank) + 1 }, () => []);
    rank.forEach((row, i) => rows[row].push(i));
    this.rank = rank;
    this.x = [];
    for (const row of rows) {
      const over = (i) => (blocks[i].inputs.length ? blocks[i].inputs.reduce((sum, input) => sum + this.x[input], 0) / blocks[i].inputs.length : 0);
      row.map((i) => [over(i), i]).sort((a, b) => a[0] - b[0] || a[1] - b[1]).forEach(([, i], at) => {
        this.x[i] = (at - (row.length - 1) / 2) * (this.width + this.across);
      });
    }
    const least = Math.min(...this.x);
    this.x = this.x.map((x) => x - least + this.left);
    this.right = Math.max(...this.x) + this.width;
    // What skips rows has a lane of its own while it does.
    this.lanes = [];
    this.skips = new Map();
    blocks.forEach((block, i) => block.inputs.forEach((input) => {
      if (rank[i] - rank[input] < 2) return;
      const free = this.lanes.findIndex((end) => end <= rank[input]);
      const lane = free < 0 ? this.lanes.length : free;
      this.lanes[lane] = rank[i];
      this.skips.set(`${input} ${i}`, lane);
    }));
    this.size = [this.right + 24 + this.lanes.length * 9, rows.length * (this.height + this.down) + this.down];
  }

  top(i) {
    return this.down / 2 + this.rank[i] * (this.height + this.down);
  }

  edges() {
    const svg = make("svg:svg", { class: "edges", width: this.size[0], height: this.size[1], "aria-hidden": "true" });
    this.lines = [];
    this.blocks.forEach((block, i) => block.inputs.forEach((input) => {
      const [x0, y0, x1, y1] = [this.x[input] + this.width / 2, this.top(input) + this.height, this.x[i] + this.width / 2, this.top(i)];
      const lane = this.skips.get(`${input} ${i}`);
      const side = this.right + 12 + (lane ?? 0) * 9;
      const [from, to] = [y0 - this.height * 0.3, y1 + this.height * 0.3];
      const d = lane === undefined
        ? `M${x0} ${y0}C${x0} ${y0 + this.down * 0.6} ${x1} ${y1 - this.down * 0.6} ${x1} ${y1}`
        : `M${this.x[input] + this.width} ${from}H${side - 6}Q${side} ${from} ${side} ${from + 6}V${to - 6}Q${side} ${to} ${side - 6} ${to}H${this.x[i] + this.width}`;
      const line = make("svg:path", { d });
      this.lines.push({ input, user: i, line });
      svg.append(line);
    }));
    return svg;
  }

  // The size of the features, where it changes.
  bands() {
    let last = null;
    const bands = [];
    this.blocks.forEach((block, i) => {
      if (!block.places || block.places === last) return;
      last = block.places;
      const band = make("div", { class: "band", "aria-hidden": "true" }, block.places);
      band.style.top = `${this.top(i) + 4}px`;
      bands.push(band);
    });
    return bands;
  }

  box(block, i) {
    const words = `${block.name}, ${block.kind}, ${block.shape}${block.target ? ", where maps are made by default" : ""}`;
    const box = make("button", { type: "button", class: `block${block.target ? " target" : ""}${block.usable ? "" : " plain"}`, tabindex: -1, "aria-label": words, onclick: () => this.look(i, true) }, make("b", {}, block.name.length > 26 ? `…${block.name.slice(-25)}` : block.name), make("span", {}, `${block.kind} · ${block.shape}`));
    [box.style.left, box.style.top, box.style.width, box.style.height] = [`${this.x[i]}px`, `${this.top(i)}px`, `${this.width}px`, `${this.height}px`];
    box.addEventListener("keydown", (event) => {
      const beside = (step) => { const row = this.blocks.map((_, k) => k).filter((k) => this.rank[k] === this.rank[i]).sort((a, b) => this.x[a] - this.x[b]); return row[row.indexOf(i) + step]; };
      const next = { ArrowDown: this.users[i][0], ArrowUp: this.blocks[i].inputs[0], ArrowLeft: beside(-1), ArrowRight: beside(1), Home: 0, End: this.blocks.length - 1 }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      this.look(next, false);
      this.boxes[next].focus();
    });
    (this.boxes ??= []).push(box);
    return box;
  }

  center(i) {
    this.scroll.scrollTop = this.top(i) - this.scroll.clientHeight / 2;
    this.scroll.scrollLeft = this.x[i] + this.width / 2 - this.scroll.clientWidth / 2;
  }

  // Shows what is known of a block; it may be `chosen` at once.
  look(i, chosen) {
    this.boxes[this.at ?? i].classList.remove("seen");
    this.boxes[this.at ?? i].tabIndex = -1;
    this.at = i;
    this.boxes[i].classList.add("seen");
    this.boxes[i].tabIndex = 0;
    for (const { input, user, line } of this.lines) line.classList.toggle("seen", input === i || user === i);
    const block = this.blocks[i];
    const link = (k) => make("button", { type: "button", class: "name", onclick: () => { this.look(k, false); this.center(k); } }, this.blocks[k].name);
    const list = (name, all) => (all.length ? [make("dt", {}, name), make("dd", {}, ...all.map(link))] : []);
    const facts = [["Operation", block.kind], ["Output", block.shape], ...block.facts].flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]);
    const go = block.usable && this.choose ? make("button", { type: "button", class: "main", onclick: () => this.choose(block.name) }, "Explain here") : null;
    const command = block.command && !this.choose ? make("pre", {}, make("code", {}, block.command)) : null;
    this.told.replaceChildren(make("h3", {}, block.name), make("dl", { class: "facts" }, ...facts, ...list("Comes from", block.inputs), ...list("Goes to", this.users[i])), ...[go, command].filter(Boolean));
    if (chosen) this.boxes[i].focus();
  }

  finder() {
    const list = make("datalist", { id: fresh("layers") }, ...this.blocks.map((block) => make("option", { value: block.name })));
    const find = make("input", { type: "search", list: list.id, placeholder: "a layer", "data-tool": "layer" });
    find.addEventListener("input", () => {
      const wanted = find.value.trim().toLowerCase();
      const at = wanted ? this.blocks.findIndex((block) => block.name.toLowerCase() === wanted) : -1;
      const near = at < 0 && wanted ? this.blocks.findIndex((block) => block.name.toLowerCase().includes(wanted)) : at;
      if (near >= 0) { this.look(near, false); this.center(near); }
    });
    const box = tool("Find a layer", find);
    box.append(list);
    return box;
  }
}
