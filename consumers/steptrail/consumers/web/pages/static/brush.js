// Drag over a series to choose its time: the address takes it, as it takes every other choice.
export const startBrushes = () => document.querySelectorAll("[data-brush]").forEach((area) => {
  const [from, until] = area.dataset.brush.split("/").map(Number);
  let start = null, mark = null;
  const share = (event) => {
    const box = area.getBoundingClientRect();
    return Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
  };
  area.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    start = share(event);
    mark = area.appendChild(document.createElement("i"));
    area.setPointerCapture(event.pointerId);
  });
  area.addEventListener("pointermove", (event) => {
    if (start === null) return;
    const [a, b] = [start, share(event)].sort((x, y) => x - y);
    mark.style.left = `${a * 100}%`;
    mark.style.width = `${(b - a) * 100}%`;
  });
  area.addEventListener("pointerup", (event) => {
    if (start === null) return;
    const [a, b] = [start, share(event)].sort((x, y) => x - y);
    start = null;
    mark.remove();
    if (b - a < 0.01) return;
    const time = (part) => new Date(Math.round(from + (until - from) * part)).toISOString();
    const address = new URL(location.href);
    address.searchParams.set("since", time(a));
    address.searchParams.set("until", time(b));
    location.assign(address);
  });
});
