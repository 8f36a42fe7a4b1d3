// Reads an exported file and a photo, prepares the photo as the file says, runs the network and draws its map.

import { propertiesOf } from "./metadata.js";
import { resize } from "./resize.js";

// `?ort=` names another place of the runtime: a folder that npm installed, for a machine without a network.
const query = new URLSearchParams(location.search);
const place = new URL(query.get("ort") ?? "https://cdn.jsdelivr.net/npm/onnxruntime-web@1.30.0/dist/", location.href).href;
const byId = (id) => document.getElementById(id);
const tell = (text, bad = false) => {
  byId("status").textContent = text;
  byId("status").className = bad ? "bad" : "";
};

let ort = null;
let network = null; // { session, about, name }
let photo = null; // { bitmap, name }
let shown = null; // { window, map, low, high, signed }

// The network.

const open = async (bytes, name) => {
  tell(`Reading ${name} …`);
  const properties = propertiesOf(bytes);
  if (!properties["faithful.map"]) throw new Error(`${name} gives no map; write it with \`faithful model export\``);
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  const read = (key) => JSON.parse(properties[`faithful.${key}`] ?? "null");
  network = { session, properties, name, preprocessing: read("preprocessing"), labels: read("labels") ?? [] };
  if (!network.preprocessing) throw new Error(`${name} does not say how photos become its input`);
  byId("model-name").textContent = name;
};

// The photo as the network sees it: the part of it that is seen, and the input `(1, 3, H, W)`.

// To which size a photo is brought, and the part of that which is cropped, `[left, top, width, height]`.
const sizesOf = ({ width, height }, { resize: side, crop, fit }) => {
  if (fit?.stretch) return { size: [fit.stretch[1], fit.stretch[0]], part: [0, 0, fit.stretch[1], fit.stretch[0]] };
  if (fit?.pad) throw new Error("photos between bars are not prepared by this page");
  const shorter = Math.min(width, height);
  const size = side ? [width, height].map((one) => (one === shorter ? side : Math.trunc((side * one) / shorter))) : [width, height];
  if (!crop) return { size, part: [0, 0, ...size] };
  const [down, across] = crop;
  if (across > size[0] || down > size[1]) throw new Error("this photo is smaller than what the network sees");
  return { size, part: [Math.round((size[0] - across) / 2), Math.round((size[1] - down) / 2), across, down] };
};

const prepare = (bitmap, about) => {
  const { size, part: [left, top, width, height] } = sizesOf(bitmap, about);
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  const whole = [bitmap.width, bitmap.height];
  const same = size.every((side, axis) => side === whole[axis]);
  const pixels = same ? data : resize(data, whole, size, about.interpolation);
  const grey = about.channels === "grey";
  const order = about.channels === "bgr" ? [2, 1, 0] : [0, 1, 2];
  const values = new Float32Array((grey ? 1 : 3) * width * height);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const [from, to] = [4 * ((top + y) * size[0] + left + x), y * width + x];
      if (grey) values[to] = ((0.299 * pixels[from] + 0.587 * pixels[from + 1] + 0.114 * pixels[from + 2]) / 255 - about.mean[0]) / about.std[0];
      else order.forEach((old, channel) => { values[channel * width * height + to] = (pixels[from + old] / 255 - about.mean[channel]) / about.std[channel]; });
    }
  }
  const [sx, sy] = [bitmap.width / size[0], bitmap.height / size[1]];
  const window = { left: left * sx, top: top * sy, width: width * sx, height: height * sy };
  return { window, input: new ort.Tensor("float32", values, [1, grey ? 1 : 3, height, width]) };
};

// What the network says.

const probabilitiesOf = (scores, kind) => {
  if (kind === "none") return scores;
  if (kind === "sigmoid") return scores.map((score) => 1 / (1 + Math.exp(-score)));
  // A file may end in a softmax of its own.
  const sum = scores.reduce((all, score) => all + score, 0);
  if (Math.abs(sum - 1) < 1e-3 && scores.every((score) => score >= 0)) return scores;
  const highest = Math.max(...scores);
  const powers = scores.map((score) => Math.exp(score - highest));
  const all = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / all);
};

const explain = async (wanted = null) => {
  if (!network || !photo) return;
  const { session, preprocessing, properties } = network;
  tell("Explaining …");
  const { window, input } = prepare(photo.bitmap, preprocessing);
  const [name, ...others] = session.inputNames;
  const byClass = others.includes("class");
  const run = (index) => {
    const feeds = { [name]: input };
    if (byClass) feeds.class = new ort.Tensor("int64", BigInt64Array.of(BigInt(index)), [1]);
    return session.run(feeds);
  };
  const start = performance.now();
  let found = await run(wanted ?? 0);
  const output = session.outputNames.find((one) => one !== properties["faithful.map"]);
  const probabilities = probabilitiesOf(Array.from(found[output].data), properties["faithful.probabilities"]);
  const ranked = probabilities.map((_, index) => index).sort((a, b) => probabilities[b] - probabilities[a]);
  const fixed = Number.parseInt(properties["faithful.class"], 10);
  const shownClass = wanted ?? (Number.isNaN(fixed) || byClass ? ranked[0] : fixed);
  if (byClass && shownClass !== (wanted ?? 0)) found = await run(shownClass);
  const seconds = (performance.now() - start) / 1000;
  const map = found[properties["faithful.map"]];
  let [low, high] = [Infinity, -Infinity];
  for (const value of map.data) [low, high] = [Math.min(low, value), Math.max(high, value)];
  // Maps for display have 0.5 for zero where they are signed; raw ones have a sign.
  if (properties["faithful.values"] === "0 to 1") [low, high] = [0, 1];
  shown = { window, map, low, high };
  list(ranked.slice(0, 5), probabilities, shownClass, byClass);
  facts(seconds);
  byId("seen").hidden = false;
  draw();
  tell(`${photo.name}: ${labelOf(shownClass)}`);
  document.documentElement.dataset.explained = `${shownClass}`;
};

const labelOf = (index) => network.labels[index] ?? `class ${index}`;

const list = (ranked, probabilities, current, byClass) => {
  const share = (value) => (network.properties["faithful.probabilities"] === "none" ? value.toPrecision(3) : `${(100 * value).toFixed(1)}%`);
  byId("classes").replaceChildren(...ranked.map((index) => {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", disabled: !byClass, title: byClass ? "Explain this class" : "" });
    button.setAttribute("aria-current", index === current);
    for (const text of [labelOf(index), share(probabilities[index])]) button.append(Object.assign(document.createElement("span"), { textContent: text }));
    button.addEventListener("click", () => attempt(() => explain(index)));
    const item = document.createElement("li");
    item.append(button);
    return item;
  }));
};

const facts = (seconds) => {
  const { properties, name } = network;
  const all = [["File", name], ["Method", properties["faithful.method"]], ["Layer", properties["faithful.layer"]], ["Source", properties["faithful.source"]], ["Time", `${seconds.toFixed(2)} s`]];
  byId("facts").replaceChildren(...all.filter(([, value]) => value).flatMap(([key, value]) => [Object.assign(document.createElement("dt"), { textContent: key }), Object.assign(document.createElement("dd"), { textContent: value })]));
};

// The picture: the photo, and the map over the part that the network saw.

const stops = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const colorOf = (share) => {
  const at = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
  const first = Math.min(Math.floor(at), stops.length - 2);
  return stops[first].map((value, channel) => value + (stops[first + 1][channel] - value) * (at - first));
};

const draw = () => {
  if (!shown) return;
  const { bitmap } = photo;
  const canvas = byId("view");
  const scale = Math.min(1, 1200 / Math.max(bitmap.width, bitmap.height));
  [canvas.width, canvas.height] = [Math.round(bitmap.width * scale), Math.round(bitmap.height * scale)];
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const { window, map, low, high } = shown;
  const [height, width] = map.dims.slice(-2);
  const image = new ImageData(width, height);
  map.data.forEach((value, at) => image.data.set([...colorOf(high > low ? (value - low) / (high - low) : 0), 255], 4 * at));
  const small = new OffscreenCanvas(width, height);
  small.getContext("2d").putImageData(image, 0, 0);
  context.globalAlpha = byId("opacity").value / 100;
  context.imageSmoothingQuality = "high";
  context.drawImage(small, window.left * scale, window.top * scale, window.width * scale, window.height * scale);
  context.globalAlpha = 1;
};

// What is dropped, chosen or lies beside the page.

const attempt = async (work) => {
  try {
    await work();
  } catch (error) {
    tell(error.message, true);
  }
};
const takeModel = (file) => attempt(async () => {
  await open(new Uint8Array(await file.arrayBuffer()), file.name);
  tell("Drop a photo.");
  await explain();
});
const takePhoto = (file) => attempt(async () => {
  photo = { bitmap: await createImageBitmap(file), name: file.name };
  byId("photo-name").textContent = file.name;
  await explain();
});
for (const [id, take] of [["model", takeModel], ["photo", takePhoto]]) {
  byId(id).addEventListener("change", () => byId(id).files.length && take(byId(id).files[0]));
  for (const name of ["dragover", "dragleave", "drop"]) byId(`drop-${id}`).addEventListener(name, () => byId(`drop-${id}`).classList.toggle("over", name === "dragover"));
}
byId("opacity").addEventListener("input", draw);

await attempt(async () => {
  ort = await import(`${place}ort.wasm.min.mjs`);
  ort.env.wasm.wasmPaths = place;
  ort.env.wasm.numThreads = self.crossOriginIsolated ? navigator.hardwareConcurrency : 1;
  const beside = query.get("model") ?? "explained.onnx";
  const answer = await fetch(beside).catch(() => null);
  if (!answer?.ok) return tell("Drop a network and a photo.");
  await open(new Uint8Array(await answer.arrayBuffer()), beside);
  tell("Drop a photo.");
});
document.documentElement.dataset.ready = "true";
