// Fills every part of the page that its data describe.

const data = JSON.parse(document.getElementById("data").textContent);
const galleries = [];
const build = (holder) => {
  const part = data.parts[Number(holder.dataset.part)];
  if (part.kind === "gallery") galleries.push(new Gallery(holder, part));
  else if (part.kind === "charts") part.charts.forEach((chart) => buildChart(holder, chart));
  else if (part.kind === "heat") buildHeat(holder, part);
  else if (part.kind === "diagram") new Diagram(holder, part);
};
setUpTheme();
setUpTables();
document.querySelectorAll("[data-part]").forEach(build);
setUpFolds();
document.documentElement.dataset.ready = "true";
