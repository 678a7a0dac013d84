// An answer -> words, rows and heat.
const LISTED = 5; // what the service lists by default: room for it from the start, so that nothing jumps
const NAMED = 8; // of the classes of a prediction set

// Rows are filled again, never replaced: the one that has the keyboard focus keeps it.
function rowsFor(count) {
  const classes = byId("classes");
  while (classes.children.length > count) classes.lastElementChild.remove();
  while (classes.children.length < count) classes.append(byId("row").content.cloneNode(true));
  return [...classes.querySelectorAll("button")];
}

function fill(row, percent) {
  row.querySelector(".percent").textContent = said(percent);
  row.querySelector(".bar > span").style.width = `${percent}%`;
}

const said = (percent) => `${percent.toFixed(3)}\u00a0%`;

// The percentage from which a class counts as seen; undefined where it must only be more than that of any other.
function border(index, { kind, thresholds } = {}) {
  if (kind === "binary") return 50;
  return kind === "multilabel" ? Number((100 * (thresholds?.[index] ?? 0.5)).toFixed(3)) : undefined;
}

// For a multi-label model, all classes above their thresholds are shown, and the likeliest ones in any case.
const shownOf = ({ detail, results }) => detail.filter(({ class: name }, place) => place < LISTED || results?.includes(name));

// The row of the explained class is pressed; in a multi-label model, classes above their thresholds have a mark.
function showRows(answer, chosen, choose, output) {
  const { other, results } = answer;
  const shown = shownOf(answer);
  rowsFor(shown.length).forEach((row, place) => {
    const { class: name, index, prob } = shown[place];
    const least = border(index, output);
    fill(row, prob);
    if (results && least !== undefined) row.querySelector(".percent").textContent += ` (needs ${least}\u00a0%)`;
    row.querySelector(".name").textContent = results?.includes(name) ? `✓ ${name}` : name;
    row.querySelector(".bar").classList.toggle("bordered", least !== undefined);
    row.querySelector(".bar").style.setProperty("--border", `${least}%`);
    row.setAttribute("aria-pressed", index === chosen);
    row.onclick = () => choose(index);
  });
  byId("other").hidden = !other; // of a multi-label model, and where all classes are listed, nothing is left over
  if (other) fill(byId("other"), other);
}

function showWords(answer, model) {
  const { result, results } = answer;
  byId("result").textContent = results ? results.join(", ") || "None of the classes" : result;
  byId("sure").textContent = [...confidenceOf(answer), ...(model ? meaningOf(model) : [])].join(" ");
}

function confidenceOf({ result, results, confidence }) {
  const words = [];
  if (results?.length === 0) words.push(`The likeliest is ${result}, below its threshold.`);
  if (confidence?.familiar === false) words.push("This does not look like the images that the model was trained on.");
  if (confidence?.familiar) words.push("This looks like the images that the model was trained on.");
  if (confidence?.set) {
    const { set, coverage } = confidence;
    const more = set.length > NAMED ? ` and ${set.length - NAMED} more` : "";
    words.push(`In ${coverage} % of cases the right class is one of: ${set.slice(0, NAMED).join(", ")}${more}.`);
  }
  return words;
}

// What the percentages of a model mean.
function meaningOf({ output, calibrated }) {
  const words = [];
  if (output.kind === "binary") words.push("One of two classes: the line in the bars, at 50 %, is the border between them.");
  if (output.kind === "multilabel") words.push("Any number of classes: those above their thresholds, the lines in the bars, count as recognized.");
  words.push(calibrated
    ? "The percentages are calibrated: answers at 90 % are right 9 times out of 10."
    : "The percentages are not calibrated: they rank the classes, but 90 % may not mean right 9 times out of 10.");
  return words;
}

// What the heat says, in words.
function meaning(name, evidence, against) {
  const than = against === null ? "" : ` and not for ${against}`;
  return evidence ? `Heatmap: the pixels that support ${name}${than}.` : `No heatmap: nothing in the image supports ${name}${than}.`;
}

function showHeat(figure, words, bitmap, ...heat) {
  figure.hidden = false;
  const canvas = figure.querySelector("canvas");
  draw(canvas, bitmap, ...heat);
  canvas.setAttribute("aria-label", `The image. ${words}`);
  figure.querySelector("figcaption").textContent = words;
}

// The classes that the chosen one may be compared with.
function offer(answer, chosen, compared) {
  const others = shownOf(answer).filter(({ index }) => index !== chosen);
  const options = others.map(({ class: name, index }) => new Option(name, index));
  byId("compared").replaceChildren(new Option("nothing", ""), ...options);
  byId("compared").value = options.some(({ value }) => value === String(compared)) ? compared : "";
}
