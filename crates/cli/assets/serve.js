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
  field("method").append(...options(methods.map((method) => [method.name, method.name]), "expected-grad-cam"));
  const describe = () => {
    const model = models.find((one) => one.name === field("model").value);
    const method = methods.find((one) => one.name === field("method").value);
    hint.textContent = `${method.name}: ${method.summary}.`;
    field("layer").disabled = !method.layers;
    field("draws").disabled = !method.draws;
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
  const show = () => {
    const files = [...field("photo").files];
    chosen.textContent = files.length ? files.map((file) => file.name).join(", ") : "JPEG, PNG, WebP, BMP, GIF or TIFF";
    problem.textContent = "";
  };
  field("photo").addEventListener("change", show);
  for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, () => drop.classList.add("over"));
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));

  const reasonOf = async (answer) => {
    try { return (await answer.json()).error; } catch { return `the server answered ${answer.status}`; }
  };

  const follow = (id, row) => {
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
        const exhibit = gallery.append(photo, true);
        document.getElementById("told").textContent = `${photo.name} is explained`;
        exhibit.element.scrollIntoView({ block: "nearest", behavior: "auto" });
      }
    };
    events.onerror = () => { if (events.readyState === EventSource.CLOSED) { stop(); row.fail("the server has gone"); } };
  };

  const send = async (file) => {
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
    const query = new URLSearchParams({ name: file.name, client });
    for (const name of ["model", "method", "class", "layer", "draws"]) if (!field(name).disabled && field(name).value) query.set(name, field(name).value);
    if (field("curves").checked) query.set("curves", "yes");
    try {
      const answer = await fetch(`jobs?${query}`, { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } });
      if (answer.ok) follow((await answer.json()).id, row);
      else row.fail(await reasonOf(answer));
    } catch {
      row.fail("the server cannot be reached");
    }
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const files = [...field("photo").files];
    problem.textContent = files.length ? "" : "Choose a photo first.";
    files.forEach(send);
  });
};
setUpServe();
