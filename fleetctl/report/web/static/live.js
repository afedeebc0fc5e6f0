// Keeps the page as fresh as the server knows it: when something changed that this page shows, it is fetched
// again and its parts are put in place, with focus, open details and the place of reading left as they were.
const follows = () => (document.querySelector("#main").dataset.follows || "").split(" ");
const CHOICE_MS = 2000, REST_MS = 400, AGAIN_MS = 1000;
let timer = null; // of a refresh that is to come, or under way
let heard = {}; // the latest versions
let moved = -Infinity; // when somebody last pressed a key, or anything scrolled

function keep(main) {
  const active = document.activeElement;
  const open = [...main.querySelectorAll("details")].map((each) => each.open);
  return { id: active && active.id, href: active && active.getAttribute && active.getAttribute("href"), open };
}

function restore(main, kept) {
  main.querySelectorAll("details").forEach((each, index) => { each.open = kept.open[index] || each.open; });
  const again = (kept.id && document.getElementById(kept.id)) ||
    (kept.id && kept.id.startsWith("act-") && main.querySelector(".act")) || // Resume where Pause was
    (kept.href && [...main.querySelectorAll("a")].find((each) => each.getAttribute("href") === kept.href));
  if (again && document.activeElement !== again) again.focus({ preventScroll: true });
}

function isChoosing() {
  const active = document.activeElement;
  return document.querySelector("#main").contains(active) && active.matches("input, select");
}

function whatToWaitFor() { // nothing changes under somebody's hands; a scroll that is under way would end there
  if (isChoosing()) return CHOICE_MS;
  return performance.now() - moved < REST_MS ? REST_MS : 0;
}

async function atRest() {
  for (let wait = whatToWaitFor(); wait; wait = whatToWaitFor()) {
    await new Promise((done) => setTimeout(done, wait));
  }
}

async function fetched() {
  try {
    const reply = await fetch(location.href, { cache: "no-store" });
    return reply.status < 500 ? await reply.text() : null; // an accident of the server's is no page
  } catch {
    return null; // what is known stays
  }
}

async function refresh() {
  try {
    await atRest(); // choices and search are in the address
    const text = await fetched();
    if (text === null) return;
    await atRest();
    replace(text);
  } finally {
    timer = null;
  }
  if (isStale()) timer = setTimeout(refresh, AGAIN_MS); // what changed meanwhile was heard, and waited
}

function isStale() {
  const shown = JSON.parse(document.querySelector("#main").dataset.versions); // what this page was made of
  return follows().some((key) => key && heard[key] !== shown[key]);
}

function replace(text) {
  const main = document.querySelector("#main");
  const fresh = new DOMParser().parseFromString(text, "text/html");
  const kept = keep(main);
  const said = document.querySelector("#said");
  document.dispatchEvent(new Event("refreshing"));
  main.innerHTML = fresh.querySelector("#main").innerHTML;
  Object.assign(main.dataset, fresh.querySelector("#main").dataset);
  document.querySelector("#when").textContent = fresh.querySelector("#when").textContent;
  const saying = fresh.querySelector("#said").textContent;
  if (said.textContent !== saying) said.textContent = saying; // a screen reader hears changes, not rounds
  document.title = fresh.title;
  document.dispatchEvent(new Event("refreshed")); // whoever adds to the page does so before focus comes back
  restore(main, kept);
}

for (const kind of ["keydown", "scroll"]) {
  document.addEventListener(kind, () => { moved = performance.now(); }, { capture: true, passive: true });
}

const source = new EventSource("/events");
source.addEventListener("versions", (event) => {
  heard = JSON.parse(event.data);
  if (timer === null && isStale()) timer = setTimeout(refresh, 200);
  document.documentElement.dataset.live = "on";
});
source.addEventListener("error", () => {
  document.documentElement.dataset.live = "off";
  document.querySelector("#when").textContent = "the dashboard does not answer; this is what it said last";
});
