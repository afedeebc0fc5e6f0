// What the page may do: asks first, then posts with the token that came in the address. The token stays in this
// tab, and leaves its address at once: it is in no history, no bookmark and no cookie.
const KEY = "fleetctl-token";
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  sessionStorage.setItem(KEY, given);
  history.replaceState(null, "", location.pathname + location.search);
}

const root = document.documentElement;
const dialog = document.querySelector("#ask");
const yes = document.querySelector("#yes");
const acted = document.querySelector("#acted");
const mayAct = (may) => { root.dataset.acts = may ? "on" : "off"; };
mayAct(sessionStorage.getItem(KEY) !== null);

function say(text, bad) {
  acted.classList.toggle("bad", bad);
  acted.textContent = text;
}

function confirmed(button) {
  document.querySelector("#question").textContent = button.dataset.question;
  document.querySelector("#consequence").textContent = button.dataset.consequence;
  yes.textContent = button.textContent;
  yes.classList.toggle("grave", /abort|rollback/.test(button.dataset.act));
  dialog.returnValue = "no";
  dialog.showModal();
  document.querySelector("#no").focus();
  return new Promise((answer) => {
    dialog.addEventListener("close", () => answer(dialog.returnValue === "yes"), { once: true });
  });
}

async function post(address, body) {
  const headers = { "content-type": "application/json", authorization: `Bearer ${sessionStorage.getItem(KEY)}` };
  try {
    const reply = await fetch(address, { method: "POST", headers, body, cache: "no-store" });
    const said = await reply.json();
    if (reply.status === 401) {
      sessionStorage.removeItem(KEY); // of a dashboard that was started before this one
      mayAct(false);
    }
    return reply.ok ? [said.said, false] : [[said.error, said.hint].filter(Boolean).join("; ") + ".", true];
  } catch {
    return ["The dashboard does not answer: nobody knows whether that was done.", true];
  }
}

let busy = false;
document.addEventListener("click", async (event) => {
  const button = event.target.closest(".act");
  if (!button || busy || !(await confirmed(button))) return;
  busy = true;
  say(`${button.textContent}: at work…`, false);
  say(...(await post(button.dataset.act, button.dataset.body)));
  busy = false;
});
