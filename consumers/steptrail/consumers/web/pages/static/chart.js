// Dense series that one zooms into, drawn by uPlot from the table of data that stands below each chart.
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const shades = ["quiet", "link", "failed", "stalled"];

const read = (table) => {
  const columns = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
  const rows = [...table.tBodies[0].rows];
  const data = columns.map((_, at) => rows.map((row) => {
    const value = row.cells[at].dataset.value;
    return value === undefined || value === "" ? null : Number(value);
  }));
  return { columns, data };
};

export const startCharts = () => document.querySelectorAll("[data-chart]").forEach((place) => {
  // As the server writes times: 24 hours, the year first, in the page's zone.
  const zone = { timeZone: place.dataset.zone, hourCycle: "h23" };
  const clock = (time) => new Intl.DateTimeFormat("sv-SE", { ...zone, hour: "2-digit", minute: "2-digit" }).format(time * 1000);
  const day = (time) => new Intl.DateTimeFormat("sv-SE", { ...zone, year: "numeric", month: "2-digit", day: "2-digit" }).format(time * 1000);
  const table = document.getElementById(place.dataset.chart);
  const draw = () => {
    const { columns, data } = read(table);
    place.replaceChildren();
    const grid = { stroke: colour("line"), width: 1 };
    const axis = { stroke: colour("quiet"), grid, ticks: grid };
    return new window.uPlot({
      width: place.clientWidth,
      height: place.clientHeight,
      tzDate: (seconds) => window.uPlot.tzDate(new Date(seconds * 1000), place.dataset.zone),
      cursor: { drag: { x: true, y: false } },
      legend: { live: true },
      axes: [{ ...axis, values: (_, times) => times.map(clock) }, { ...axis, size: 64 }],
      series: columns.map((label, at) => at === 0
        ? { label, value: (_, time) => (time === null ? "" : `${day(time)} ${clock(time)}`) }
        : { label, stroke: colour(shades[(at - 1) % shades.length]), width: 1.5, dash: at === 2 ? [6, 4] : at === 3 ? [2, 3] : undefined, spanGaps: false }),
    }, data, place);
  };
  let chart = draw();
  new ResizeObserver(() => chart.setSize({ width: place.clientWidth, height: place.clientHeight })).observe(place);
  new MutationObserver(() => { chart.destroy(); chart = draw(); })
    .observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
});
