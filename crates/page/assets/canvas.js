// Photos and maps on canvas: what has been decoded, which part is shown, and the painting itself.

// Decoded photos and maps, the least recently used dropped beyond a quarter of a gigabyte.
const decoded = new Map();
const budget = 256e6;
let held = 0;

// What was decoded of `key`, or null: then decoding begins, and `later` is called when it is there.
const peek = (key, decode, later) => {
  const found = decoded.get(key);
  if (found) {
    decoded.delete(key);
    decoded.set(key, found);
    if (!found.value) found.waiting.add(later);
    return found.value;
  }
  const entry = { value: null, bytes: 0, waiting: new Set([later]) };
  decoded.set(key, entry);
  decode(key).then(
    (value) => {
      entry.value = value;
      entry.bytes = value.byteLength ?? value.width * value.height * 4;
      held += entry.bytes;
      for (const [other, old] of decoded) {
        if (held <= budget) break;
        if (old === entry || !old.value) continue;
        held -= old.bytes;
        old.value.close?.();
        decoded.delete(other);
      }
      for (const tell of entry.waiting) tell();
      entry.waiting.clear();
    },
    (error) => console.error(`a picture of this page cannot be decoded: ${error}`),
  );
  return null;
};

// The part of the photo, in its pixels, that a view begins with.
const frameOf = (photo, whole) => {
  const [left, top, width, height] = photo.region;
  return whole ? { left: 0, top: 0, width: photo.width, height: photo.height } : { left, top, width, height };
};

// The part of the photo on a canvas of that aspect: the frame, letterboxed, zoomed by `scale` about (x, y) in 0 to 1.
const windowOf = (frame, aspect, zoom) => {
  const wide = frame.width / frame.height < aspect;
  const fitted = wide ? { width: frame.height * aspect, height: frame.height } : { width: frame.width, height: frame.width / aspect };
  const [width, height] = [fitted.width / zoom.scale, fitted.height / zoom.scale];
  const centre = (at, size, start, whole) => {
    const middle = start + at * whole;
    return size >= whole ? start + whole / 2 : clamp(middle, start + size / 2, start + whole - size / 2);
  };
  const x = centre(zoom.x, width, frame.left, frame.width);
  const y = centre(zoom.y, height, frame.top, frame.height);
  return { left: x - width / 2, top: y - height / 2, width, height };
};

// A map's value at a place of the photo, as it is drawn; null outside.
const valueIn = (map, values, photo, x, y, smooth) => {
  const [left, top, width, height] = photo.region;
  const u = ((x - left) / width) * map.width;
  const v = ((y - top) / height) * map.height;
  if (u < 0 || v < 0 || u >= map.width || v >= map.height) return null;
  if (!smooth) return values[Math.floor(v) * map.width + Math.floor(u)];
  const tap = (at, count) => {
    const centre = clamp(at - 0.5, 0, count - 1);
    const first = Math.min(Math.floor(centre), Math.max(count - 2, 0));
    return [first, Math.min(first + 1, count - 1), centre - first];
  };
  const [a, b, s] = tap(u, map.width);
  const [c, d, t] = tap(v, map.height);
  const row = (r) => values[r * map.width + a] * (1 - s) + values[r * map.width + b] * s;
  return row(c) * (1 - t) + row(d) * t;
};

const colormapOf = (map, look) => (map.signed ? "diverging" : look.colormap);

// The visible part of a map as a picture with transparent pixels below the threshold.
const rasterOf = (map, values, photo, part, columns, rows, look, [lowest, highest]) => {
  const canvas = document.createElement("canvas");
  canvas.width = columns;
  canvas.height = rows;
  const image = new ImageData(columns, rows);
  const pixels = new Uint32Array(image.data.buffer);
  const { colors } = lutOf(colormapOf(map, look));
  const [left, top, width, height] = photo.region;
  const taps = (count, start, size, from, whole, cells) => {
    const [first, second, share] = [new Int32Array(count), new Int32Array(count), new Float32Array(count)];
    for (let i = 0; i < count; i += 1) {
      const at = ((start + ((i + 0.5) / count) * size - from) / whole) * cells;
      const centre = look.smooth ? clamp(at - 0.5, 0, cells - 1) : clamp(Math.floor(at), 0, cells - 1);
      first[i] = Math.min(Math.floor(centre), cells - 1);
      second[i] = Math.min(first[i] + 1, cells - 1);
      share[i] = centre - first[i];
    }
    return [first, second, share];
  };
  const [x0, x1, xs] = taps(columns, part.left, part.width, left, width, map.width);
  const [y0, y1, ys] = taps(rows, part.top, part.height, top, height, map.height);
  const span = highest > lowest ? 255 / (highest - lowest) : 0;
  const rest = span ? 0 : map.signed ? 127.5 : 0;
  const limit = look.threshold * 255;
  for (let r = 0; r < rows; r += 1) {
    const [upper, lower, t] = [y0[r] * map.width, y1[r] * map.width, ys[r]];
    for (let c = 0; c < columns; c += 1) {
      const [a, b, s] = [x0[c], x1[c], xs[c]];
      const above = values[upper + a] + (values[upper + b] - values[upper + a]) * s;
      const below = values[lower + a] + (values[lower + b] - values[lower + a]) * s;
      const shown = clamp((above + (below - above) * t - lowest) * span + rest, 0, 255);
      const strength = map.signed ? Math.abs(shown * 2 - 255) : shown;
      pixels[r * columns + c] = strength < limit ? 0 : colors[Math.round(shown)];
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
};

// Paints a photo, and the map on it if there is one.
const paint = (pane, look, view, cursor) => {
  const { canvas, photo, map } = pane;
  if (!canvas.clientWidth || !canvas.clientHeight) return;
  const again = pane.soil;
  const picture = peek(photo.image, photoBitmap, again);
  const values = map && !map.error ? peek(map, gridOf, again) : null;
  const ready = picture && (!map || map.error || values);
  // What is there stays until it can be drawn anew.
  if (!ready && canvas.dataset.state === "drawn" && canvas.width) return;
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.globalAlpha = 1;
  context.clearRect(0, 0, width, height);
  const scale = width / view.width;
  const [onX, onY] = [(x) => (x - view.left) * scale, (y) => (y - view.top) * scale];
  const [left, top, across, down] = photo.region;
  if (picture) {
    context.imageSmoothingEnabled = scale * photo.width < picture.width * 4;
    context.imageSmoothingQuality = "high";
    context.drawImage(picture, onX(0), onY(0), photo.width * scale, photo.height * scale);
    if (map) {
      // What the network never saw is grey and dark, not "unimportant".
      const outside = new Path2D();
      outside.rect(onX(0), onY(0), photo.width * scale, photo.height * scale);
      outside.rect(onX(left), onY(top), across * scale, down * scale);
      context.save();
      context.beginPath();
      context.rect(onX(0), onY(0), photo.width * scale, photo.height * scale);
      context.clip();
      context.globalCompositeOperation = "saturation";
      context.fillStyle = "#808080";
      context.fill(outside, "evenodd");
      context.globalCompositeOperation = "source-over";
      context.fillStyle = "rgb(0 0 0 / 0.5)";
      context.fill(outside, "evenodd");
      context.restore();
    }
  }
  if (values) {
    const [l, t] = [Math.max(left, view.left, 0), Math.max(top, view.top, 0)];
    const [r, b] = [Math.min(left + across, view.left + view.width, photo.width), Math.min(top + down, view.top + view.height, photo.height)];
    if (r > l && b > t) {
      const part = { left: l, top: t, width: r - l, height: b - t };
      const most = look.smooth ? 320 : 1200;
      const columns = clamp(Math.round(part.width * scale), 1, most);
      const rows = clamp(Math.round(part.height * scale), 1, most);
      const range = pane.range ?? [map.low, map.high];
      const key = [colormapOf(map, look), look.smooth, look.threshold, l, t, r, b, columns, rows, ...range].join(" ");
      if (pane.key !== key) [pane.key, pane.raster] = [key, rasterOf(map, values, photo, part, columns, rows, look, range)];
      context.globalAlpha = look.opacity;
      context.imageSmoothingEnabled = look.smooth;
      context.drawImage(pane.raster, onX(l), onY(t), part.width * scale, part.height * scale);
      context.globalAlpha = 1;
    }
  }
  if (cursor) {
    const [x, y] = [onX(cursor.x), onY(cursor.y)];
    for (const [color, line] of [["rgb(0 0 0 / 0.75)", 3.2 * ratio], ["#fff", 1.4 * ratio]]) {
      context.strokeStyle = color;
      context.lineWidth = line;
      context.beginPath();
      context.arc(x, y, 5 * ratio, 0, 7);
      context.stroke();
    }
  }
  canvas.dataset.state = ready ? "drawn" : "waiting";
};

// Draws the panes that are in view, some milliseconds' worth per frame, so that controls answer at once. A tidy painter
// forgets what is out of view; another draws that too, when there is nothing else to do, so that paper has it all.
class Painter {
  constructor(tidy) {
    this.panes = new Map();
    this.tidy = tidy;
    this.pending = false;
    this.seen = new IntersectionObserver(
      (entries) => {
        for (const { target, isIntersecting } of entries) {
          const pane = this.panes.get(target);
          if (!pane) continue;
          pane.visible = isIntersecting;
          if (isIntersecting) this.soil(pane);
          else if (this.tidy && !matchMedia("print").matches) {
            [target.width, target.height, pane.raster, pane.key] = [0, 0, null, null];
            delete target.dataset.state;
          }
        }
      },
      { rootMargin: "300px 0px" },
    );
    this.sized = new ResizeObserver((entries) => entries.forEach(({ target }) => { const pane = this.panes.get(target); if (pane) this.soil(pane); }));
  }

  add(pane) {
    pane.soil = () => this.soil(pane);
    this.panes.set(pane.canvas, pane);
    this.seen.observe(pane.canvas);
    this.sized.observe(pane.canvas);
  }

  remove(pane) {
    this.panes.delete(pane.canvas);
    this.seen.unobserve(pane.canvas);
    this.sized.unobserve(pane.canvas);
  }

  soil(pane) {
    pane.dirty = true;
    if (!pane.visible) {
      if (!this.tidy) this.drawIdly();
      return;
    }
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => this.draw());
  }

  soilAll() {
    for (const pane of this.panes.values()) this.soil(pane);
  }

  draw() {
    this.pending = false;
    const end = performance.now() + 30;
    for (const pane of this.panes.values()) {
      if (!pane.dirty || !pane.visible) continue;
      if (performance.now() > end) {
        this.pending = true;
        requestAnimationFrame(() => this.draw());
        return;
      }
      pane.dirty = false;
      pane.draw();
    }
  }

  drawIdly() {
    if (this.idle) return;
    this.idle = true;
    const wait = window.requestIdleCallback ?? ((run) => setTimeout(run, 60));
    wait(() => {
      this.idle = false;
      const end = performance.now() + 12;
      for (const pane of this.panes.values()) {
        if (!pane.dirty || pane.visible) continue;
        pane.dirty = false;
        pane.draw();
        if (performance.now() > end) {
          this.drawIdly();
          return;
        }
      }
    });
  }

  // Everything that has been decoded, at once, for paper.
  drawAll() {
    for (const pane of this.panes.values()) {
      if (!pane.dirty && pane.canvas.dataset.state === "drawn") continue;
      pane.dirty = false;
      pane.draw();
    }
  }
}
