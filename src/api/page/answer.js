// An answer -> words, rows and heat.
const LISTED = 5; // what the service lists by default: room for it from the start, so that nothing jumps

// Rows are filled again, never replaced: the one that has the keyboard focus keeps it.
function rowsFor(count) {
  const classes = byId("classes");
  while (classes.children.length > count) classes.lastElementChild.remove();
  while (classes.children.length < count) classes.append(byId("row").content.cloneNode(true));
  return [...classes.querySelectorAll("button")];
}

function fill(row, percent) {
  row.querySelector(".percent").textContent = `${percent.toFixed(3)} %`;
  row.querySelector(".bar > span").style.width = `${percent}%`;
}

// The row of the explained class is pressed; of a multi-label model the classes above their thresholds have a mark.
function showRows({ detail, other, results }, chosen, choose) {
  rowsFor(detail.length).forEach((row, place) => {
    const { class: name, index, prob } = detail[place];
    fill(row, prob);
    row.querySelector(".name").textContent = results?.includes(name) ? `✓ ${name}` : name;
    row.setAttribute("aria-pressed", index === chosen);
    row.onclick = () => choose(index);
  });
  byId("other").hidden = !other; // of a multi-label model, and where all classes are listed, nothing is left over
  if (other) fill(byId("other"), other);
}

function showWords({ result, results, confidence }, model) {
  byId("result").textContent = results ? results.join(", ") || `None; ${result} is the likeliest` : result;
  const said = [];
  if (confidence?.familiar === false) said.push("This does not look like anything the model was taught.");
  if (confidence?.set) {
    said.push(`In ${confidence.coverage} % of all cases the right class is among: ${confidence.set.join(", ")}.`);
  }
  if (model) said.push(model.calibrated ? "The percentages are calibrated." : "The percentages are not calibrated.");
  byId("sure").textContent = said.join(" ");
}

// What the heat says, in words.
function meaning(name, evidence, against) {
  const than = against === null ? "" : ` and not for ${against}`;
  return evidence ? `Heat: the pixels that speak for ${name}${than}.` : `No heat: nothing in the photo speaks for ${name}${than}.`;
}

function showHeat(figure, bitmap, box, map, style, words) {
  figure.hidden = false;
  const canvas = figure.querySelector("canvas");
  draw(canvas, bitmap, box, map, style);
  canvas.setAttribute("aria-label", `The photo. ${words}`);
  figure.querySelector("figcaption").textContent = words;
}

// The classes that the chosen one may be compared with.
function offer({ detail }, chosen, compared) {
  const options = detail.filter(({ index }) => index !== chosen).map(({ class: name, index }) => new Option(name, index));
  byId("compared").replaceChildren(new Option("nothing", ""), ...options);
  byId("compared").value = options.some(({ value }) => value === String(compared)) ? compared : "";
}
