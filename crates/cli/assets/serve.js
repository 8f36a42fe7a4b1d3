// The form of `faithful serve`: photos go out, events come back, results join the gallery.

const setUpServe = () => {
  const { models, methods, upload } = data.extra;
  const form = document.getElementById("ask");
  const field = (name) => form.elements[name];
  const hint = document.getElementById("hint");
  const problem = document.getElementById("problem");
  const queue = document.getElementById("queue");
  const gallery = galleries[0];
  const results = gallery.holder.closest("section");
  results.hidden = true;
  const client = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");

  field("model").append(...options(models.map((model) => [model.name, model.name])));
  // Methods by their families; `auto` belongs to none.
  const families = [...new Set(methods.map((method) => method.family).filter(Boolean))];
  const heading = (family) => `${family[0].toUpperCase()}${family.slice(1)}`;
  const of = (family) => methods.filter((method) => method.family === family);
  field("method").append(...options(methods.filter((method) => !method.family).map(({ name }) => [name, name]), "auto"));
  for (const family of families) field("method").append(make("optgroup", { label: heading(family) }, ...options(of(family).map(({ name }) => [name, name]))));
  const others = document.getElementById("choices");
  for (const family of families) {
    const box = ({ name, summary }) => make("label", { title: summary }, make("input", { type: "checkbox", value: name, onchange: () => describe() }), name);
    others.append(make("fieldset", {}, make("legend", {}, heading(family)), make("div", {}, ...of(family).map(box))));
  }
  const alsoChosen = () => [...others.querySelectorAll("input:checked")].map((box) => box.value).filter((name) => name !== field("method").value);
  const describe = () => {
    const model = models.find((one) => one.name === field("model").value);
    const method = methods.find((one) => one.name === field("method").value);
    const more = alsoChosen();
    const any = (what) => [method.name, ...more].some((name) => methods.find((one) => one.name === name)[what]);
    hint.textContent = `${method.name}: ${method.summary}.`;
    document.getElementById("count").textContent = more.length ? `(${more.join(", ")})` : "";
    document.getElementById("network").disabled = field("layer").disabled = !any("layers");
    field("draws").disabled = !any("draws");
    if (field("layer").dataset.model !== model.name) {
      field("layer").dataset.model = model.name;
      const layers = model.layers.map((layer) => [layer.name, `${layer.name} · ${layer.note}${layer.target ? " · default" : ""}`]);
      field("layer").replaceChildren(...options(layers, model.layers.find((layer) => layer.target)?.name));
      document.getElementById("labels").replaceChildren(...model.labels.map((label) => make("option", { value: label })));
    }
  };
  field("model").addEventListener("change", describe);
  field("method").addEventListener("change", describe);
  describe();

  const drop = form.querySelector(".drop");
  const chosen = document.getElementById("chosen");
  const previews = document.getElementById("previews");
  const show = () => {
    const files = [...field("photo").files];
    // What the browser cannot draw, as TIFF, has its name alone.
    previews.replaceChildren(...files.slice(0, 12).map((file) => {
      const address = URL.createObjectURL(file);
      const free = () => URL.revokeObjectURL(address);
      const image = make("img", { src: address, alt: `Preview of ${file.name}`, onload: free, onerror: () => { free(); image.remove(); } });
      return image;
    }));
    chosen.textContent = files.length ? files.map((file) => file.name).join(", ") : "JPEG, PNG, WebP, BMP, GIF or TIFF";
    problem.textContent = "";
  };
  field("photo").addEventListener("change", show);
  for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, () => drop.classList.add("over"));
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));

  const reasonOf = async (answer) => {
    try { return (await answer.json()).error; } catch { return `the server answered ${answer.status}`; }
  };

  const dialog = document.getElementById("layers");
  document.getElementById("network").addEventListener("click", () => {
    const model = models.find((one) => one.name === field("model").value);
    const holder = make("div");
    const close = make("button", { type: "button", onclick: () => dialog.close() }, "Close");
    dialog.replaceChildren(make("div", { class: "close" }, close), make("h2", {}, `Layers of ${model.name}`), holder);
    dialog.showModal();
    const diagram = new Diagram(holder, model.diagram, (name) => { field("layer").value = name; dialog.close(); field("layer").focus(); });
    const at = model.diagram.blocks.findIndex((block) => block.name === field("layer").value);
    if (at >= 0) { diagram.look(at, true); diagram.center(at); }
  });

  const past = document.getElementById("history");
  const remember = (exhibit, photo) => {
    const words = `${photo.name}: ${photo.views.map((view) => view.title).join(", ")} by ${photo.columns.map((column) => column.name).join(", ")}`;
    const go = () => { exhibit.element.scrollIntoView({ block: "start" }); exhibit.element.querySelector("canvas")?.focus({ preventScroll: true }); };
    const address = `#${exhibit.title.id}`;
    past.querySelector("ol").prepend(make("li", {}, make("a", { href: address, onclick: (event) => { event.preventDefault(); go(); } }, words)));
    past.hidden = gallery.exhibits.length < 2;
  };

  const follow = (id, row, file, asked) => {
    const events = new EventSource(`jobs/${id}/events`);
    const stop = () => { events.close(); row.cancel.remove(); row.bar.remove(); };
    row.cancel.addEventListener("click", () => {
      stop();
      row.element.remove();
      fetch(`jobs/${id}`, { method: "DELETE" });
    });
    events.onmessage = async ({ data: text }) => {
      const event = JSON.parse(text);
      row.bar.hidden = event.state !== "running";
      if (event.state === "waiting") row.tell(event.before === 0 ? "next" : `${event.before} before it`);
      else if (event.state === "running") {
        const left = event.all && event.done ? Math.ceil((event.seconds * (event.all - event.done)) / event.done) : null;
        row.tell(left === null || left < 0 ? `explaining, ${event.seconds} s` : `explaining, about ${left} s left`);
        if (event.all) [row.bar.max, row.bar.value] = [event.all, Math.min(event.done, event.all)];
      } else {
        stop();
        if (event.state === "failed") {
          row.fail(event.reason);
          return;
        }
        const answer = await fetch(`jobs/${id}`);
        if (!answer.ok) {
          row.fail(await reasonOf(answer));
          return;
        }
        const photo = await answer.json();
        for (const view of photo.views) for (const map of view.maps) for (const file of map.files ?? []) file.href = `jobs/${id}/${file.href}`;
        row.element.remove();
        results.hidden = false;
        [photo.file, photo.asked] = [file, asked];
        const exhibit = gallery.append(photo, true);
        remember(exhibit, photo);
        document.getElementById("told").textContent = `${photo.name} is explained`;
        exhibit.element.scrollIntoView({ block: "nearest", behavior: "auto" });
      }
    };
    events.onerror = () => { if (events.readyState === EventSource.CLOSED) { stop(); row.fail("the server has gone"); } };
  };

  const ask = () => {
    const asked = { method: [field("method").value, ...alsoChosen()].join(",") };
    for (const name of ["model", "class", "layer", "draws"]) if (!field(name).disabled && field(name).value) asked[name] = field(name).value;
    if (field("curves").checked) asked.curves = "yes";
    return asked;
  };
  // A press on another of the predictions explains that class of the same photo in the same way.
  gallery.ask = (photo, at) => photo.file && (() => send(photo.file, { ...photo.asked, class: at }));

  const send = async (file, asked = ask()) => {
    const state = make("span", { class: "quiet" }, "sending");
    const row = {
      bar: make("progress", { "aria-label": `Progress of ${file.name}` }),
      cancel: make("button", { type: "button", "aria-label": `Cancel ${file.name}` }, "Cancel"),
      tell: (text) => { state.textContent = text; },
      fail: (text) => { state.textContent = text; state.className = "problem"; row.bar.remove(); row.cancel.remove(); },
    };
    row.bar.hidden = true;
    row.element = make("li", {}, make("span", {}, file.name), make("span", { class: "doing" }, row.bar, state), row.cancel);
    queue.append(row.element);
    if (file.size > upload) {
      row.fail(`it has ${(file.size / 1e6).toFixed(1)} MB; at most ${(upload / 1e6).toFixed(1)} are taken`);
      return;
    }
    const query = new URLSearchParams({ name: file.name, client, ...asked });
    try {
      const answer = await fetch(`jobs?${query}`, { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } });
      if (answer.ok) follow((await answer.json()).id, row, file, asked);
      else row.fail(await reasonOf(answer));
    } catch {
      row.fail("the server cannot be reached");
    }
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const files = [...field("photo").files];
    problem.textContent = files.length ? "" : "Choose a photo first.";
    files.forEach((file) => send(file));
  });
};
setUpServe();
