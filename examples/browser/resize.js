// Resizes as PIL does, and so faithful and torchvision: a separable filter that widens where a picture is reduced, rows first, each pass
// rounded to whole bytes. A canvas takes another filter, with which scores differ in the second digit.

const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
const cubic = (x) => (x < 1 ? (1.5 * x - 2.5) * x * x + 1 : ((-0.5 * x + 2.5) * x - 4) * x + 2);
const kernels = {
  bilinear: [1, (x) => 1 - x],
  bicubic: [2, cubic],
  lanczos: [3, (x) => sinc(x) * sinc(x / 3)],
};

// For each place of the new side: the first old place and the weights from there on.
const taps = (from, to, name) => {
  const scale = from / to;
  if (name === "nearest") return Array.from({ length: to }, (_, at) => [Math.min(Math.floor((at + 0.5) * scale), from - 1), [1]]);
  const [radius, kernel] = kernels[name] ?? kernels.bilinear;
  const wide = Math.max(scale, 1);
  return Array.from({ length: to }, (_, at) => {
    const centre = (at + 0.5) * scale;
    const first = Math.max(Math.floor(centre - radius * wide + 0.5), 0);
    const last = Math.min(Math.floor(centre + radius * wide + 0.5), from);
    const weights = Array.from({ length: last - first }, (_, i) => {
      const x = Math.abs(first + i + 0.5 - centre) / wide;
      return x < radius ? kernel(x) : 0;
    });
    const sum = weights.reduce((all, weight) => all + weight, 0);
    return [first, weights.map((weight) => weight / sum)];
  });
};

// `pixels` is RGBA, `width` by `height`; so is what is returned, of the new size.
export const resize = (pixels, [width, height], [across, down], name = "bilinear") => {
  const pass = (source, lines, stride, step, all, goal, at) => {
    for (let line = 0; line < lines; line += 1) {
      all.forEach(([first, weights], place) => {
        for (let channel = 0; channel < 3; channel += 1) {
          let sum = 0;
          for (let i = 0; i < weights.length; i += 1) sum += weights[i] * source[4 * (line * stride + (first + i) * step) + channel];
          // A clamped array rounds, ties to even; half goes up here.
          goal[4 * at(line, place) + channel] = Math.floor(sum + 0.5);
        }
      });
    }
    return goal;
  };
  const wide = pass(pixels, height, width, 1, taps(width, across, name), new Uint8ClampedArray(4 * across * height), (row, column) => row * across + column);
  return pass(wide, across, 1, across, taps(height, down, name), new Uint8ClampedArray(4 * across * down), (column, row) => row * across + column);
};
