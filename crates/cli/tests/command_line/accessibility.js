// Faults of the page as it is now: structure, names of elements, contrast, focus. An empty list is a page without.
(() => {
  const faults = [];
  const visible = (element) => element.checkVisibility({ opacityProperty: false, visibilityProperty: true });
  const all = (selector) => [...document.querySelectorAll(selector)].filter(visible);
  const open = document.querySelector("dialog[open]");

  if (!document.documentElement.lang) faults.push("no language");
  if (!document.title) faults.push("no title");
  for (const [selector, count] of [["h1", 1], ["main", 1]]) {
    if (document.querySelectorAll(selector).length !== count) faults.push(`not ${count} ${selector}`);
  }
  let last = 0;
  for (const heading of all("h1, h2, h3, h4, h5, h6").filter((h) => !h.closest("dialog"))) {
    const level = Number(heading.tagName[1]);
    if (level > last + 1) faults.push(`heading ${heading.textContent} jumps from ${last} to ${level}`);
    if (!heading.textContent.trim()) faults.push("an empty heading");
    last = level;
  }
  const ids = new Set();
  for (const element of document.querySelectorAll("[id]")) {
    if (ids.has(element.id)) faults.push(`two elements are called ${element.id}`);
    ids.add(element.id);
  }
  for (const element of document.querySelectorAll("[aria-labelledby], [for]")) {
    const target = element.getAttribute("aria-labelledby") ?? element.getAttribute("for");
    if (!document.getElementById(target)) faults.push(`nothing is called ${target}`);
  }
  for (const element of document.querySelectorAll("[tabindex]")) if (element.tabIndex > 0) faults.push("a tabindex above 0");
  for (const element of document.querySelectorAll("[aria-hidden='true']")) {
    if (element.matches("button, a, input, select") || element.querySelector("button, a, input, select, [tabindex='0']")) faults.push("something hidden from the ear can be focused");
  }
  for (const list of document.querySelectorAll("ul, ol, dl")) {
    const allowed = list.matches("dl") ? "dt, dd, div" : "li";
    if ([...list.children].some((child) => !child.matches(allowed))) faults.push(`a list holds ${list.innerHTML.slice(0, 60)}`);
  }
  for (const table of all("table")) {
    if (!table.tHead || [...table.tHead.querySelectorAll("th")].some((th) => !th.scope)) faults.push("a table's headings have no scope");
  }

  // Contrast of every text with what is behind it (WCAG 2.2, 1.4.3).
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, bottom) => [0, 1, 2].map((i) => top[i] * top[3] + bottom[i] * (1 - top[3]));
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const color = rgba(getComputedStyle(at).backgroundColor);
      if (color[3] > 0) layers.push(color);
      if (color[3] === 1) break;
    }
    return layers.reverse().reduce((ground, color) => over(color, ground), [255, 255, 255]);
  };
  const luminance = (color) => {
    const [r, g, b] = color.map((c) => { const v = c / 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => { const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  const texts = document.createTreeWalker(open ?? document.body, NodeFilter.SHOW_TEXT);
  const told = new Set();
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.textContent.trim() || !visible(element) || element.closest(".unseen, script, style, noscript, :disabled, option")) continue;
    const style = getComputedStyle(element);
    const drawn = element.namespaceURI.endsWith("svg") ? style.fill : style.color;
    const ground = behind(element);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const found = ratio(over(rgba(drawn), ground), ground);
    const key = `${style.color} on ${ground}`;
    if (found < (large ? 3 : 4.5) && !told.has(key)) {
      told.add(key);
      faults.push(`contrast ${found.toFixed(2)}: "${texts.currentNode.textContent.trim().slice(0, 40)}" ${key}`);
    }
  }

  // What can be pressed is large enough to be hit (WCAG 2.2, 2.5.8).
  for (const element of all("button, select, input, summary")) {
    const box = element.getBoundingClientRect();
    if (box.width < 24 || box.height < 18) faults.push(`small: ${element.outerHTML.slice(0, 80)}`);
  }
  return faults;
})()
