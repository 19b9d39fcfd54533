// Changes go through the API, as JSON: what a form says is sent, and what came of it is shown.
const values = (form) => {
  const body = form.dataset.body ? JSON.parse(form.dataset.body) : {};
  for (const [name, value] of new FormData(form)) {
    const field = form.elements[name];
    if (value !== "") body[name] = field.dataset?.number !== undefined ? Number(value) : value;
  }
  if (form.dataset.set) {
    const [name, value] = form.dataset.set.split("=");
    body[name] = JSON.parse(value);
  }
  return body;
};

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("[data-api]")) return;
  event.preventDefault();
  const output = form.querySelector("output");
  const address = event.submitter?.dataset.api ?? form.dataset.api;
  const buttons = form.querySelectorAll("button");
  buttons.forEach((button) => { button.disabled = true; });
  try {
    const answer = await fetch(address, {
      method: "POST",
      headers: { "content-type": "application/json", accept: "application/json" },
      body: JSON.stringify(values(form)),
    });
    const told = await answer.json().catch(() => ({}));
    if (answer.ok) location.reload();
    else if (output) output.textContent = `${told.detail ?? answer.statusText}${(told.errors ?? []).map((each) => `; ${each.name ?? ""}: ${each.message ?? ""}`).join("")}`;
  } catch {
    if (output) output.textContent = "the server does not answer: nothing was changed";
  }
  buttons.forEach((button) => { button.disabled = false; });
});
