"use strict";
// Each page works without this script; it adds what forms alone cannot do.
document.documentElement.classList.add("scripted");

// A picture is asked about as soon as it is chosen, dropped or pasted.
const drop = document.getElementById("drop");
if (drop) {
  const [chosen, camera] = drop.querySelectorAll("input[type=file]");
  const ask = (files) => {
    const picture = [...files].find((file) => file.type.startsWith("image/"));
    if (!picture) return;
    const one = new DataTransfer();
    one.items.add(picture);
    chosen.files = one.files;
    camera.disabled = true;
    drop.submit();
  };
  for (const input of [chosen, camera]) input.addEventListener("change", () => ask(input.files));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  document.addEventListener("dragleave", () => drop.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    ask(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => ask(event.clipboardData.files));
}

// Suspects are judged by keys, one after another; htmx brings them once an assessment is done.
const choices = { 1: "keep", 2: "proposed", 3: "prune", o: "other" };
const now = () => document.querySelector(".case.now");
const enter = (next) => {
  now()?.classList.remove("now");
  next.classList.add("now");
};
const go = (next) => {
  enter(next);
  next.scrollIntoView({ block: "nearest" });
  next.querySelector("input:checked").focus({ preventScroll: true });
};
document.addEventListener("focusin", (event) => {
  const next = event.target.closest(".case");
  if (next && next !== now()) enter(next);
});
document.addEventListener("input", (event) => {
  const other = event.target.name.startsWith("other-") && event.target.closest(".case");
  if (other) other.querySelector("[value=other]").checked = true;
});
document.addEventListener("keydown", (event) => {
  const cases = [...document.querySelectorAll(".case")];
  const typing = event.target.matches("input:not([type=radio]), textarea, select");
  if (!cases.length || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const at = cases.indexOf(now());
  if (event.key === "j") go(cases[Math.min(at + 1, cases.length - 1)]);
  else if (event.key === "k") go(cases[Math.max(at - 1, 0)]);
  else if (event.key in choices && at >= 0) {
    const choice = cases[at].querySelector(`[value=${choices[event.key]}]`);
    choice.checked = true;
    if (event.key === "o") cases[at].querySelector("[name^=other]").focus();
    else if (at < cases.length - 1) go(cases[at + 1]);
    else choice.focus();
  } else return;
  event.preventDefault();
});
