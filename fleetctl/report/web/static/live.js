// Keeps the page as fresh as the server knows it: when something changed that this page shows, it is fetched
// again and its parts are put in place, with focus, open details and the place of reading left as they were.
const follows = () => (document.querySelector("#main").dataset.follows || "").split(" ");
let timer = null;

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

async function refresh() {
  timer = null;
  const main = document.querySelector("#main");
  if (main.contains(document.activeElement) && document.activeElement.matches("input, select")) {
    timer = setTimeout(refresh, 2000); // somebody is choosing: not under their hands
    return;
  }
  let text;
  try {
    const reply = await fetch(location.href, { cache: "no-store" });
    text = await reply.text();
  } catch {
    return;
  }
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

const source = new EventSource("/events");
source.addEventListener("versions", (event) => {
  const versions = JSON.parse(event.data);
  const shown = JSON.parse(document.querySelector("#main").dataset.versions); // what this page was made of
  const stale = follows().some((key) => key && versions[key] !== shown[key]);
  if (stale && timer === null) timer = setTimeout(refresh, 200);
  document.documentElement.dataset.live = "on";
});
source.addEventListener("error", () => {
  document.documentElement.dataset.live = "off";
  document.querySelector("#when").textContent = "the dashboard does not answer; this is what it said last";
});
