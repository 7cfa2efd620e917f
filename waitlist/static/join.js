// Sends the form again by itself while the service is too busy to answer, and does the sum
// (see policy/proof.py) that it may ask for.
const LONGEST = 30; // seconds between two tries
const AT_ONCE = 500; // sums between two looks at what else the page has to do

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));
const say = (form, words) => (form.querySelector("[role=status]").textContent = words);

async function solve({ challenge, bits }, address) {
  const begins = `${challenge}:${address.trim()}:`;
  const solves = async (number) => {
    const bytes = new TextEncoder().encode(begins + number);
    const hash = new DataView(await crypto.subtle.digest("SHA-256", bytes));
    return hash.getUint32(0) >>> (32 - bits) === 0 ? number : null;
  };
  for (let first = 0; ; first += AT_ONCE) {
    const found = await Promise.all(Array.from({ length: AT_ONCE }, (_, n) => solves(first + n)));
    const number = found.find((one) => one !== null);
    if (number !== undefined) return number;
  }
}

async function prove(form, body) {
  if (!("challenge" in form.dataset) || !window.crypto?.subtle) return;
  say(form, form.dataset.doing);
  body.set("challenge", form.dataset.challenge);
  body.set("number", await solve(form.dataset, body.get("address")));
}

async function send(form) {
  const body = new URLSearchParams(new FormData(form));
  await prove(form, body);
  for (let tries = 0; ; tries++) {
    const answer = await fetch(form.action, { method: "POST", body, headers: { Accept: "text/html" } }).catch(() => null);
    if (answer && answer.status !== 503 && answer.status !== 429) return answer.text();
    say(form, form.dataset.busy);
    const asked = Number(answer?.headers.get("Retry-After")) || 2;
    await pause(Math.max(asked, Math.min(2 ** tries, LONGEST)) * (1 + Math.random()));
  }
}

async function join(form) {
  form.querySelector("button").disabled = true;
  const page = new DOMParser().parseFromString(await send(form), "text/html");
  document.title = page.title;
  const main = page.querySelector("main");
  document.querySelector("main").replaceWith(main);
  main.tabIndex = -1;
  (main.querySelector("[autofocus]") ?? main).focus();
  goOn(main);
}

// A page that asks for the sum goes on by itself, where the browser can do it.
function goOn(page) {
  const asking = page.querySelector("form[data-by-itself]");
  if (asking && window.crypto?.subtle) join(asking);
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!("busy" in form.dataset)) return;
  event.preventDefault();
  join(form);
});
goOn(document);
