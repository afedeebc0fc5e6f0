// A table of any length that scrolls: pages of rows are fetched as they come near, and given up when they are far.
// What stands for a page that is away is as high as the page was, or is likely to be. Without this script, or
// with `page` in the address, the table is a page of rows with links to those before and behind.
const NEAR = "900px"; // above and below what is seen
const PAUSE_MS = 60; // a page that is flown over is not fetched
const kept = { top: 0, guess: 0, heights: new Map(), rows: new Map(), where: null }; // from one refresh to the next
let list = null;

function start() {
  const region = document.querySelector("#main [data-pages]");
  if (!region || new URLSearchParams(location.search).has("page")) return null;
  const table = region.querySelector("table");
  const first = table.tBodies[0];
  const pages = Number(region.dataset.pages);
  if (pages < 2) return null;
  region.classList.add("long");
  document.querySelector(".pager").classList.add("scrolls");
  first.dataset.page = 1;
  const columns = table.tHead.rows[0].cells.length;
  const bodies = [first];
  for (let page = 2; page <= pages; page += 1) {
    const body = document.createElement("tbody");
    body.dataset.page = page;
    bodies.push(body);
  }
  table.append(...bodies);
  return { region, bodies, columns, near: new Set(), where: location.search };
}

function isLoaded(body) { return body.dataset.loaded === "yes"; }

function fill(body, html) {
  const { region } = list;
  const atEnd = region.scrollHeight - region.scrollTop - region.clientHeight < 4; // who is there stays there
  const active = body.contains(document.activeElement) && document.activeElement.getAttribute("href");
  body.innerHTML = html;
  if (atEnd) region.scrollTop = region.scrollHeight;
  body.dataset.loaded = "yes";
  kept.rows.set(body.dataset.page, html);
  if (active) body.querySelector(`a[href="${CSS.escape(active)}"]`)?.focus({ preventScroll: true });
}

function empty(body) {
  if (isLoaded(body)) kept.heights.set(body.dataset.page, body.getBoundingClientRect().height);
  kept.rows.delete(body.dataset.page);
  body.dataset.loaded = "no";
  const rest = document.createElement("tr");
  const cell = document.createElement("td");
  rest.className = "away";
  rest.setAttribute("aria-hidden", "true");
  cell.colSpan = list.columns;
  cell.style.height = `${kept.heights.get(body.dataset.page) || kept.guess}px`;
  rest.append(cell);
  body.replaceChildren(rest);
}

async function load(body, mine) {
  const query = new URLSearchParams(location.search);
  query.set("page", body.dataset.page);
  try {
    const reply = await fetch(`/rows?${query}`, { cache: "no-store" });
    if (!reply.ok || mine !== list || !mine.near.has(body)) return;
    fill(body, await reply.text());
  } catch {
    // what is known stays; the line at the top says that the dashboard does not answer
  }
}

function watch(mine) {
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) {
        mine.near.add(target);
        if (!isLoaded(target)) setTimeout(() => mine.near.has(target) && load(target, mine), PAUSE_MS);
      } else {
        mine.near.delete(target);
        if (isLoaded(target) && !target.contains(document.activeElement)) empty(target);
      }
    }
  }, { root: mine.region, rootMargin: `${NEAR} 0px` });
  mine.bodies.forEach((body) => observer.observe(body));
  return observer;
}

function begin() {
  list = start();
  if (!list) return;
  const [first] = list.bodies;
  if (kept.where !== list.where) {
    kept.where = list.where;
    kept.guess = first.getBoundingClientRect().height;
    kept.rows.set(first.dataset.page, first.innerHTML);
  }
  list.bodies.forEach((body) => { // as high as they were, or what is being read would move
    const rows = kept.rows.get(body.dataset.page);
    if (rows) fill(body, rows);
    else empty(body);
  });
  list.region.scrollTop = kept.top;
  list.observer = watch(list);
}

document.addEventListener("refreshing", () => {
  if (!list) return;
  list.observer.disconnect();
  kept.top = list.region.scrollTop;
});
document.addEventListener("refreshed", () => {
  begin();
  if (list) list.bodies.filter(isLoaded).forEach((body) => { list.near.add(body); load(body, list); });
});
begin();
