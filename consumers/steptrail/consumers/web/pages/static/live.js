// Keeps a page up to date without moving what one reads: known rows change in place, new ones are announced.
const INTERVAL_MS = 5000;
let waiting = null; // the newest page that has rows which are not shown yet

const keyed = (root) => new Map([...root.querySelectorAll("[data-key]")].map((row) => [row.dataset.key, row]));

const isUsed = (element) =>
  element.contains(document.activeElement) && document.activeElement !== document.body
  || element.querySelector("details[open], dialog[open]") !== null
  || String(getSelection()) !== "" && element.contains(getSelection().anchorNode);

const replaceContent = (old, fresh) => {
  if (old.innerHTML !== fresh.innerHTML && !isUsed(old)) old.innerHTML = fresh.innerHTML;
  if (old.className !== fresh.className) old.className = fresh.className;
};

const updateRows = (old, fresh) => {
  const known = keyed(old), found = keyed(fresh);
  for (const [key, row] of known) {
    if (found.has(key)) replaceContent(row, found.get(key));
  }
  return [...found.keys()].filter((key) => !known.has(key)).length;
};

const apply = (page) => {
  let news = 0;
  for (const fresh of page.querySelectorAll("[data-live]")) {
    const old = document.getElementById(fresh.id);
    if (!old) continue;
    if (fresh.dataset.live === "rows" && old.querySelector("[data-key]")) news += updateRows(old, fresh);
    else replaceContent(old, fresh);
  }
  const icon = page.querySelector("link[rel=icon]");
  if (icon) document.querySelector("link[rel=icon]").href = icon.getAttribute("href");
  document.title = page.title;
  const announce = document.getElementById("news");
  announce.hidden = news === 0;
  announce.textContent = `${news} new ▸`;
  waiting = news ? page : null;
};

const showAll = () => {
  for (const fresh of waiting?.querySelectorAll("[data-live=rows]") ?? []) {
    const known = keyed(document.getElementById(fresh.id));
    const old = document.getElementById(fresh.id);
    old.innerHTML = fresh.innerHTML;
    for (const [key, row] of keyed(old)) if (!known.has(key)) row.classList.add("new");
  }
  document.getElementById("news").hidden = true;
  waiting = null;
};

const refresh = async () => {
  const sentence = document.getElementById("fresh");
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html", "x-steptrail-live": "1" } });
    if (!answer.ok) throw new Error(String(answer.status));
    apply(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch {
    sentence.className = "fresh blind";
    sentence.textContent = "? this page cannot be kept up to date: the server does not answer";
  }
};

export const startLive = () => {
  const button = document.querySelector("[data-live-switch]");
  if (!button) return;
  document.getElementById("news").addEventListener("click", showAll);
  let timer = null;
  const set = (on) => {
    button.setAttribute("aria-pressed", String(on));
    clearInterval(timer);
    timer = on ? setInterval(() => { if (!document.hidden) refresh(); }, INTERVAL_MS) : null;
  };
  button.addEventListener("click", () => { set(timer === null); if (timer !== null) refresh(); });
  document.addEventListener("visibilitychange", () => { if (!document.hidden && timer !== null) refresh(); });
  set(button.getAttribute("aria-pressed") === "true");
};
