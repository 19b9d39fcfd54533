// What every page has: theme, zone, copying, keyboard, the palette, and live updates.
import { startLive } from "./live.js";
import "./actions.js";
import { openPalette, startPalette } from "./palette.js";

const cookie = (name, value) => {
  document.cookie = `${name}=${encodeURIComponent(value)}; path=/; max-age=31536000; samesite=strict`;
};

const theme = document.querySelector("[data-theme-switch]");
theme?.addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  cookie("steptrail_theme", document.documentElement.dataset.theme);
});

// The page is drawn in one zone by the server: choosing another asks for it anew.
const zone = document.querySelector("[data-zone-switch]");
zone?.addEventListener("click", () => {
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  cookie("steptrail_zone", zone.dataset.zoneSwitch === "UTC" ? own : "UTC");
  location.reload();
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const text = button.dataset.copy || document.getElementById(button.dataset.copyFrom)?.textContent || "";
  await navigator.clipboard.writeText(text);
  const before = button.textContent;
  button.textContent = "copied";
  setTimeout(() => { button.textContent = before; }, 1500);
});

// Controls that change the address as soon as they are changed.
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submit-on-change] select")) event.target.form.requestSubmit();
});

const typing = (element) => element.matches("input, select, textarea, [contenteditable]");
const rows = () => [...document.querySelectorAll("tr[data-href]")].filter((row) => row.offsetParent);
const goTo = { o: "overview", f: "failing", d: "documents", e: "errors", s: "steps", p: "operations" };
let pending = "";

const move = (by) => {
  const all = rows();
  if (!all.length) return;
  const at = all.indexOf(document.activeElement.closest("tr[data-href]"));
  all[Math.min(Math.max(at + by, 0), all.length - 1)].focus();
};

document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "k") { event.preventDefault(); openPalette(); return; }
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  const before = pending;
  pending = "";
  if (before === "g" && goTo[event.key]) document.querySelector(`[data-nav="${goTo[event.key]}"]`)?.click();
  else if (event.key === "g") pending = "g";
  else if (event.key === "/") { event.preventDefault(); document.getElementById("search")?.focus(); }
  else if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (event.key === "?") openPalette();
  else if (event.key === "Enter" && event.target.matches("tr[data-href]")) location.assign(event.target.dataset.href);
});

startPalette();
startLive();
if (document.querySelector("[data-brush]")) import("./brush.js").then(({ startBrushes }) => startBrushes());
if (document.querySelector("[data-chart]")) import("./chart.js").then(({ startCharts }) => startCharts());
