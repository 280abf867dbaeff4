// Swaps the parts of a page that the server rendered, and moves about its board by arrow keys. Without it the
// same forms and links work as whole pages.

let isWaiting = false;
let next = null; // the moment that the slider has reached meanwhile

async function swap(address, form, button) {
  if (isWaiting) return; // a double click is one move
  isWaiting = true;
  document.body.setAttribute("aria-busy", "true");
  try {
    const asked = form
      ? { method: "POST", body: new URLSearchParams(new FormData(form, button)) }
      : {};
    const answer = await fetch(address, asked);
    const text = await answer.text();
    if (!answer.headers.get("content-type").startsWith("text/html")) {
      document.getElementById("said").textContent = text;
      return;
    }
    show(new DOMParser().parseFromString(text, "text/html"));
  } catch {
    document.getElementById("said").textContent = "The server does not answer.";
  } finally {
    isWaiting = false;
    document.body.removeAttribute("aria-busy");
    if (next !== null) toMoment(next);
  }
}

function toMoment(address) {
  next = isWaiting ? address : null;
  if (!isWaiting) swap(address);
}

function show(page) {
  const at = whereFocusIs();
  for (const id of ["said", "main"]) {
    const own = document.getElementById(id);
    own.replaceChildren(...page.getElementById(id).childNodes);
  }
  document.title = page.title;
  const places = [document, page].map((one) => one.getElementById("board"));
  if (places[0] && places[1] && places[0].href !== places[1].href) places[0].href = places[1].href;
  begin();
  focusAgain(at);
}

// Where the focus was, in words that hold on the next page, too.
function whereFocusIs() {
  const active = document.activeElement;
  if (!active || !active.closest("main")) return null;
  if (active.classList.contains("cell")) return { cell: placeOf(active) };
  return active.id ? { id: active.id } : { form: active.closest("form")?.className };
}

function focusAgain(at) {
  if (at === null) return;
  const cells = [...document.querySelectorAll(".cell")];
  let found = null;
  if (at.cell) found = cells.find((cell) => placeOf(cell) === at.cell) ?? cells.find((c) => c.tabIndex === 0);
  if (at.id) found = document.getElementById(at.id);
  if (at.form) found = document.querySelector(`form.${at.form} button`);
  found ??= document.querySelector("form.again button, form.moves button, #typed, #main");
  if (found.classList.contains("cell")) settle(found);
  found.focus();
}

const placeOf = (cell) => [...cell.classList].find((name) => name.startsWith("at-"));

// One stop of the tabulator in each board and in each list of moves; arrow keys go on from there.
function begin() {
  for (const grid of document.querySelectorAll('[role="grid"]')) {
    const cells = [...grid.querySelectorAll(".cell")];
    settle(cells.find((c) => c.matches(".chosen")) ?? cells.find((c) => c.matches("a, button")) ?? cells[0]);
  }
  for (const form of document.querySelectorAll("form.moves")) {
    [...form.querySelectorAll("button")].forEach((b, k) => (b.tabIndex = k === 0 ? 0 : -1));
  }
}

function settle(cell) {
  for (const other of cell.closest('[role="grid"]').querySelectorAll(".cell")) other.tabIndex = -1;
  cell.tabIndex = 0;
}

function moved(cell, key) {
  const rows = [...cell.closest('[role="grid"]').querySelectorAll('[role="row"]')];
  const cells = rows.map((row) => [...row.querySelectorAll(".cell")]);
  const y = cells.findIndex((row) => row.includes(cell));
  const x = cells[y].indexOf(cell);
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  if (key === "Home") return cells[y][0];
  if (key === "End") return cells[y][cells[y].length - 1];
  return steps[key] && cells[y + steps[key][0]]?.[x + steps[key][1]];
}

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const undo = document.querySelector("[data-undo]");
  if (event.key === "Escape" && undo) swap(undo.href);
  const at = event.target;
  const turn = { ArrowLeft: "earlier", ArrowRight: "later" }[event.key];
  if (turn && !at.matches?.("input, select")) document.getElementById(turn)?.click();
  if (at.classList?.contains("cell")) {
    if (event.key === " " && at.matches("a")) at.click();
    const next = moved(at, event.key);
    if (next) settle(next), next.focus();
    if (next || event.key.startsWith("Arrow") || event.key === " " && at.matches("a")) event.preventDefault();
  } else if (at.closest?.("form.moves fieldset")) {
    const buttons = [...at.closest("form").querySelectorAll("button")];
    const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    const next = step && buttons[buttons.indexOf(at) + step];
    if (next) (at.tabIndex = -1), (next.tabIndex = 0), next.focus(), event.preventDefault();
  }
});

document.addEventListener("input", (event) => {
  const form = event.target.closest?.("[data-moment]");
  if (form) toMoment(`${form.getAttribute("action")}?${new URLSearchParams(new FormData(form))}`);
});

document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-swap]")) return;
  event.preventDefault();
  swap(event.target.getAttribute("action"), event.target, event.submitter);
});

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-swap]");
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  swap(link.href);
});

begin();
