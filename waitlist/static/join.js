// Sends the form again by itself while the service is too busy to answer.
const LONGEST = 30; // seconds between two tries

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

async function send(form) {
  const body = new URLSearchParams(new FormData(form));
  for (let tries = 0; ; tries++) {
    const answer = await fetch(form.action, { method: "POST", body, headers: { Accept: "text/html" } }).catch(() => null);
    if (answer && answer.status !== 503 && answer.status !== 429) return answer.text();
    form.querySelector("[role=status]").textContent = form.dataset.busy;
    const asked = Number(answer?.headers.get("Retry-After")) || 2;
    await pause(Math.max(asked, Math.min(2 ** tries, LONGEST)) * (1 + Math.random()));
  }
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!("busy" in form.dataset)) return;
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  const page = new DOMParser().parseFromString(await send(form), "text/html");
  document.title = page.title;
  const main = page.querySelector("main");
  document.querySelector("main").replaceWith(main);
  main.tabIndex = -1;
  (main.querySelector("[autofocus]") ?? main).focus();
});
