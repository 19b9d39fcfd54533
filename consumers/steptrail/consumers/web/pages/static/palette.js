// The command palette: every page, and whatever the search finds, from the keyboard.
let dialog, input, list, asked = 0;

const show = (entries) => {
  list.replaceChildren(...entries.map(({ href, text }, place) => {
    const item = document.createElement("li"), link = document.createElement("a");
    link.href = href;
    link.textContent = text;
    link.id = `palette-${place}`;
    link.setAttribute("role", "option");
    link.setAttribute("aria-selected", String(place === 0));
    item.setAttribute("role", "presentation");
    item.append(link);
    return item;
  }));
  input.setAttribute("aria-activedescendant", entries.length ? "palette-0" : "");
};

const links = () => [...list.querySelectorAll("a")];

const pages = (typed) => [...document.querySelectorAll("[data-nav]")]
  .map((link) => ({ href: link.href, text: link.textContent.trim() }))
  .filter(({ text }) => text.toLowerCase().includes(typed.toLowerCase()));

const look = async () => {
  const typed = input.value.trim(), mine = ++asked;
  show(pages(typed));
  if (typed.length < 2) return;
  const address = new URL(dialog.dataset.search, location.href);
  address.searchParams.set("q", typed);
  const answer = await fetch(address, { headers: { accept: "application/json" } });
  if (mine !== asked || !answer.ok) return;
  show([...pages(typed), ...(await answer.json()).results]);
};

const choose = (by) => {
  const all = links(), at = all.findIndex((link) => link.getAttribute("aria-selected") === "true");
  const next = Math.min(Math.max(at + by, 0), all.length - 1);
  all.forEach((link, place) => link.setAttribute("aria-selected", String(place === next)));
  all[next]?.scrollIntoView({ block: "nearest" });
  input.setAttribute("aria-activedescendant", all[next]?.id ?? "");
};

export const openPalette = () => {
  if (dialog.open) return;
  input.value = "";
  show(pages(""));
  dialog.showModal();
};

export const startPalette = () => {
  dialog = document.getElementById("palette");
  [input, list] = [dialog.querySelector("input"), dialog.querySelector("ul")];
  document.querySelector("[data-palette-open]")?.addEventListener("click", openPalette);
  let timer;
  input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(look, 150); });
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") { event.preventDefault(); choose(1); }
    else if (event.key === "ArrowUp") { event.preventDefault(); choose(-1); }
    else if (event.key === "Enter") {
      event.preventDefault();
      links().find((link) => link.getAttribute("aria-selected") === "true")?.click();
    }
  });
};
