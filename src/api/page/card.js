// What is known of the model: GET /model as a card.
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const MEANING = {
  softmax: "one of the classes for each image",
  binary: "one of two classes for each image",
  multilabel: "any number of classes for each image",
};

const made = (tag, properties) => Object.assign(document.createElement(tag), properties);

let asked = null;

// Return GET /model, or a refusal(); a known model is asked for again only if another one has answered.
async function knownModel(tag) {
  if (tag && (await asked)?.model !== tag) asked = null;
  asked ??= call("model").then(({ response, answer, late }) => (answer?.success ? answer : refusal(response, answer, late)));
  const model = await asked;
  if (!model.success) asked = null;
  return model;
}

function facts(model) {
  const { check, learned, input } = model;
  const faithfulness = check?.faithfulness;
  const seen = check?.trained_on ? `, ${check.trained_on} of which it was trained on` : "";
  const [height, width] = input.crop;
  const said = {
    Model: model.model,
    Network: model.architecture,
    Classes: `${model.labels.length}, ${MEANING[model.output.kind]}`,
    Input: `${width} x ${height} pixels, ${input.channels === 1 ? "gray" : "color"}`,
    Explained: `at the layer ${model.layer}${model.exact ? "; exactly: each heatmap sums to its class's score" : ""}`,
    Runs: `in ${model.runtime} on the ${model.device}, ${model.precision}`,
    Checked: check ? `on ${check.images} labeled images${seen}: ${percent(check.accuracy)} accuracy` : "not yet",
    Calibrated: "no: the percentages are those of the network",
  };
  if (learned?.calibration) {
    const { error_before: before, error_after: after } = learned.calibration;
    said.Calibrated = `on ${learned.images} images: off by ${percent(before)} before, by ${percent(after)} now`;
  }
  if (learned?.sets) said.Sets = `include the right class ${percent(learned.sets.measured)} of the time, ${learned.sets.mean_size.toFixed(1)} classes on average`;
  if (learned?.familiarity) said.Unfamiliar = `images are recognized as such; ${percent(learned.familiarity.false_alarms)} false alarms`;
  if (faithfulness) said.Heatmaps = `most faithful by ${faithfulness.best}, on ${faithfulness.images} images`;
  return said;
}

function showCard(model) {
  byId("unknown").textContent = model.success ? "" : `${model.trouble}. ${model.complaint}`;
  byId("known").hidden = !model.success;
  if (!model.success) return;
  const entries = Object.entries(facts(model)).map(([name, value]) => {
    const group = made("div");
    group.append(made("dt", { textContent: name }), made("dd", { textContent: value }));
    return group;
  });
  byId("facts").replaceChildren(...entries);
  byId("pictures").replaceChildren();
  if (model.check?.confusion) byId("pictures").append(confusion(model.check.confusion));
  if (model.learned?.calibration?.reliability?.length) byId("pictures").append(reliability(model.learned.calibration.reliability));
  const found = () => showLabels(model.labels, byId("search").value); // which may be in use
  byId("search").oninput = found;
  found();
}

function showLabels(labels, searched) {
  const found = labels.map((label, index) => [label, index]).filter(([label]) => label.toLowerCase().includes(searched.trim().toLowerCase()));
  byId("labels").replaceChildren(...found.map(([label, index]) => made("li", { textContent: `${index} ${label}` })));
}

// Rows are true classes, columns predicted ones; the stronger the color, the larger the share of the row.
function confusion({ classes, counts }) {
  const table = made("table");
  table.createCaption().textContent = "Confusion matrix: true class (rows), predicted class (columns)";
  const head = table.createTHead().insertRow();
  head.insertCell();
  for (const name of [...classes, "other"]) head.append(made("th", { scope: "col", textContent: name }));
  const body = table.createTBody();
  counts.forEach((row, index) => {
    const line = body.insertRow();
    line.append(made("th", { scope: "row", textContent: classes[index] }));
    const total = Math.max(1, row.reduce((sum, count) => sum + count, 0));
    for (const count of row) {
      const cell = line.insertCell();
      cell.textContent = count;
      cell.style.setProperty("--share", `${(100 * count) / total}%`);
    }
  });
  return table;
}

// For each range of percentages: what they promised, and how often they were right; on the diagonal they are the same.
function reliability(bins) {
  const figure = made("figure");
  const canvas = made("canvas", { width: 240, height: 240 });
  const words = bins.map(({ said, right }) => `${percent(said)} said, ${percent(right)} right`).join("; ");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Reliability: ${words}`);
  const context = canvas.getContext("2d");
  const style = getComputedStyle(document.body);
  context.strokeStyle = style.color;
  context.fillStyle = style.getPropertyValue("--accent");
  context.strokeRect(0.5, 0.5, 239, 239);
  context.beginPath();
  context.moveTo(0, 240);
  context.lineTo(240, 0);
  context.stroke();
  const most = Math.max(...bins.map(({ images }) => images));
  for (const { said, right, images } of bins) { // the larger the point, the more images
    context.beginPath();
    context.arc(240 * said, 240 * (1 - right), 2 + 8 * Math.sqrt(images / most), 0, 2 * Math.PI);
    context.fill();
  }
  figure.append(canvas, made("figcaption", { textContent: "Reliability: predicted probability (across), accuracy (up); on the line they agree" }));
  return figure;
}
