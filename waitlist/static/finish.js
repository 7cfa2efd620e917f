// Sends the last step again by itself until it is answered, and keeps what was typed in this tab.
const LONGEST = 30, PATIENCE = 20; // seconds: between two tries, and for an answer
const KEPT = `typed ${location.pathname}`;
const find = (what, where = document) => where.querySelector(what);
const fields = (form) => [...form.elements].filter(({ id, type }) => id && type !== "password" && type !== "email");
let wake, cut, sending = false;

const stored = (use) => {
  try { return use(sessionStorage); } catch { return null; } // not every view has any
};

const keep = (form) => {
  const typed = fields(form).map(({ id, value, checked }) => [id, value, checked]);
  stored((tab) => tab.setItem(KEPT, JSON.stringify(typed)));
};

const bringBack = () => {
  for (const [id, value, checked] of JSON.parse(stored((tab) => tab.getItem(KEPT))) ?? []) {
    const field = document.getElementById(id);
    if (!field) continue;
    field.value ||= value;
    field.checked ||= checked;
  }
};

const ask = async (form, body) => {
  cut = new AbortController();
  const timer = setTimeout(() => cut.abort(), PATIENCE * 1000);
  const asked = { method: "POST", body, headers: { Accept: "text/html" }, signal: cut.signal };
  try {
    const answer = await fetch(form.action, asked);
    return [answer, new DOMParser().parseFromString(await answer.text(), "text/html")];
  } catch {
    return [];
  } finally {
    clearTimeout(timer);
  }
};

const passes = ({ status, headers }) => status >= 500 || status === 429 || (status === 409 && headers.has("Retry-After"));

const show = (answer, page, form) => {
  if (answer.redirected) {
    stored((tab) => tab.removeItem(KEPT));
    return location.assign(answer.url);
  }
  const main = find("main", page), fresh = find("form[data-keep]", main);
  if (fresh && !find("#password-error", main)) {
    fresh.password.value = form.password.value;
    find(".retype", main)?.remove();
  }
  document.title = page.title;
  find("main").replaceWith(main);
  main.tabIndex = -1;
  (find("[autofocus]", main) ?? main).focus();
};

const finish = async (form) => {
  const body = new URLSearchParams(new FormData(form)), box = find(".trying"), buttons = box.lastElementChild;
  const say = (words, seconds) => { find("[role=status]", box).textContent = form.dataset[words].replace("{}", seconds); };
  let stopped = buttons.hidden = false, unanswered = 0;
  find(".now", box).onclick = () => wake();
  find(".stop", box).onclick = () => { stopped = true; cut.abort(); wake(); };
  form.inert = true;
  for (let tries = 1; !stopped; tries++) {
    say("sending");
    const [answer, page] = await ask(form, body);
    if (answer && (answer.redirected || (!passes(answer) && find("main", page)))) return show(answer, page, form);
    const asked = Number(answer?.headers.get("Retry-After")) || 1;
    const seconds = Math.ceil(Math.max(asked, Math.min(2 ** tries, LONGEST)) * (1 + Math.random() / 2));
    if (stopped) break;
    if (!answer) body.set("unanswered", Math.min(++unanswered, 99)); // told with the next try
    say(answer ? "busy" : navigator.onLine ? "unreached" : "offline", seconds);
    if (box.hidden) box.hidden = false, box.focus();
    await new Promise((done) => setTimeout(wake = done, seconds * 1000));
  }
  say("stopped");
  buttons.hidden = true;
  form.inert = false;
  find("button", form).focus();
};

addEventListener("online", () => wake?.());
addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
addEventListener("input", ({ target }) => target.form && keep(target.form));
addEventListener("submit", async (event) => {
  if (!("keep" in event.target.dataset)) return;
  event.preventDefault();
  if (sending) return;
  sending = true;
  keep(event.target);
  await finish(event.target);
  sending = false;
});
bringBack();
