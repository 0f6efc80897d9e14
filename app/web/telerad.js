// Three islands: the image pane, the report that is being written, and files for a request.  Without
// the first two the pages work by links and buttons.
"use strict";

// The report: a lost connection must be seen, and unsaved words must not be left by accident.
const report = document.querySelector("form[data-autosave]");
if (report) {
  let typed = 0;
  let saved = 0;
  let sending = 0;
  const say = (text) => {
    const state = document.querySelector("#save-state");
    if (!state) return;
    const note = [...state.childNodes].find((node) => node.nodeType === 3 && node.data.trim());
    if (note) note.data = text;
    state.classList.add("bad");
  };
  report.addEventListener("input", () => { typed += 1; });
  report.addEventListener("submit", () => { saved = typed; });
  document.addEventListener("htmx:before:request", () => { sending = typed; });
  document.addEventListener("htmx:after:request", (event) => {
    const status = event.detail?.ctx?.response?.status ?? 0;
    if (status >= 200 && status < 300) saved = sending;
  });
  document.addEventListener("htmx:error", () => say("Not saved: the engine does not answer. It is tried again when you go on writing."));
  window.addEventListener("beforeunload", (event) => {
    if (typed !== saved && document.activeElement?.type !== "submit") event.preventDefault();
  });
}

// The image pane: arrow keys, wheel and links change the picture without loading the page again,
// so that nothing typed is lost.
const image = document.querySelector("#image");
if (image) {
  const pane = document.querySelector("#images");
  const place = document.querySelector("#image-place");
  const links = [...pane.querySelectorAll("a[data-image]")];
  const stops = links.flatMap((link) =>
    Array.from({ length: Number(link.dataset.frames) }, (_, i) => ({ link, frame: i + 1 })));
  let shownWindow = image.dataset.window;
  let at = Math.max(0, stops.findIndex((stop) => stop.link.dataset.image === image.dataset.image));
  const address = (stop) =>
    `${pane.dataset.base}${stop.link.dataset.image}.png?window=${shownWindow}` +
    (stop.frame > 1 ? `&frame=${stop.frame}` : "");
  const within = (stop) => stops.filter((other) => other.link.closest("details") === stop.link.closest("details"));

  // What was fetched stays with the page, and goes with it: nothing is kept in the browser's cache.
  const fetched = new Map();
  const show = (index) => {
    if (index < 0 || index >= stops.length) return;
    at = index;
    const stop = stops[at];
    const wanted = address(stop);
    if (!fetched.has(wanted)) {
      const kept = image.src.endsWith(wanted) ? image.cloneNode() : new Image();
      kept.src = wanted;
      fetched.set(wanted, kept);
    }
    image.src = wanted;
    links.forEach((link) => link.removeAttribute("aria-current"));
    stop.link.setAttribute("aria-current", "true");
    stop.link.closest("details").open = true;
    const same = within(stop);
    place.textContent = `${same.indexOf(stop) + 1} of ${same.length}`;
  };
  show(at);
  image.addEventListener("error", () => { place.textContent = "this image cannot be shown"; });
  links.forEach((link) => link.addEventListener("click", (event) => {
    event.preventDefault();
    show(stops.findIndex((stop) => stop.link === link));
  }));
  pane.querySelectorAll("a.preset").forEach((link) => link.addEventListener("click", (event) => {
    event.preventDefault();
    shownWindow = link.dataset.window;
    pane.querySelectorAll("a.preset").forEach((other) => other.removeAttribute("aria-current"));
    link.setAttribute("aria-current", "true");
    show(at);
  }));
  const stage = pane.querySelector(".stage");
  stage.addEventListener("keydown", (event) => {
    const step = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[event.key];
    if (!step) return;
    event.preventDefault();
    show(Math.min(stops.length - 1, Math.max(0, at + step)));
  });
  let turned = 0;
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    const now = performance.now();
    if (now - turned < 60) return;
    turned = now;
    show(at + Math.sign(event.deltaY));
  }, { passive: false });
}

// The queue looks again by itself, but never under somebody's hands.
setInterval(() => {
  const lists = document.querySelector("[data-refresh]");
  if (!lists || document.hidden) return;
  if (lists.contains(document.activeElement) || lists.querySelector("details[open]")) return;
  const paged = location.search.length > 0;
  if (!paged) lists.dispatchEvent(new Event("refresh"));
}, 15000);

// Files for a request: one after the other, each with its progress and what became of it.
const files = document.querySelector("#files");
if (files) {
  const list = document.querySelector("#uploads");
  const send = (file) => new Promise((done) => {
    const line = document.createElement("li");
    const words = document.createElement("span");
    const bar = document.createElement("progress");
    bar.max = 1;
    bar.value = 0;
    words.textContent = `${file.name}: sending `;
    line.append(words, bar);
    list.append(line);
    const tell = (text, bad) => {
      bar.remove();
      words.textContent = `${file.name}: ${text}`;
      line.className = bad ? "bad" : "ok";
      done(!bad);
    };
    const call = new XMLHttpRequest();
    call.open("POST", files.dataset.address);
    call.setRequestHeader("X-Form-Token", files.dataset.token);
    call.setRequestHeader("X-File-Name", encodeURIComponent(file.name));
    call.setRequestHeader("Accept", "application/json");
    call.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) bar.value = event.loaded / event.total;
    });
    call.addEventListener("error", () => tell("not sent, the engine does not answer.", true));
    call.addEventListener("load", () => {
      let told = {};
      try { told = JSON.parse(call.responseText); } catch { /* a proxy's page */ }
      if (call.status >= 300) {
        tell(`refused: ${told.detail ?? call.statusText}.`, true);
        return;
      }
      const notes = told.remarks.map((remark) => ` Note: ${remark}.`).join("");
      tell((told.duplicate ? "was here already." : "stored.") + notes, false);
    });
    call.send(file);
  });
  files.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = files.querySelector("button");
    button.disabled = true;
    for (const file of [...files.querySelector("#file").files]) await send(file);
    button.disabled = false;
    files.querySelector("#file").value = "";
  });
}
