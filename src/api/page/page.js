// The page itself: one photo on the stage, one question at a time.
const PAUSE_MS = 150;
const [form, stage, photo] = ["form", "stage", "photo"].map(byId);
const state = { file: null, bitmap: null, answer: null, drawn: null, chosen: null, compared: null, model: null, options: {} };
let latest = new AbortController();
let timer = 0;

const style = () => ({ alpha: Number(byId("alpha").value), colormap: byId("colormap").value });
const listed = (index) => state.answer?.detail.find((one) => one.index === index);
const againstAnother = () => state.compared !== null && byId("versus").checked;

// Ask for what is on the stage. The service draws where the browser cannot: files that it cannot read, and `versus`.
async function question() {
  clearTimeout(timer);
  latest.abort();
  latest = new AbortController();
  const { signal } = latest;
  const drawn = state.bitmap === null || againstAnother();
  state.options = { method: byId("method").value, gradcam: drawn, heatmaps: !drawn };
  if (drawn) Object.assign(state.options, style(), { target: state.chosen, versus: againstAnother() ? state.compared : null });
  stage.ariaBusy = "true";
  const answer = await ask(state.file, state.options, signal);
  if (answer === null) return;
  stage.ariaBusy = "false";
  if (!answer.success) return complain(answer);
  state.answer = answer;
  state.chosen ??= answer.detail[0].index;
  state.drawn = drawn ? await picture(answer) : null;
  byId("alert").hidden = true;
  byId("answer").inert = false;
  show();
  if (state.model === null && (state.model = await fetchModel())) show();
}

async function picture({ gradcam, explained }) {
  const bytes = Uint8Array.from(atob(gradcam), (letter) => letter.charCodeAt(0));
  return createImageBitmap(new Blob([bytes], { type: `image/${explained.format}` }));
}

function show() {
  const { answer, bitmap, drawn, chosen, compared } = state;
  if (!answer) return;
  showRows(answer, chosen, choose);
  showWords(answer, state.model);
  offer(answer, chosen, compared);
  byId("legend").hidden = false;
  drawScale(byId("scale"), style().colormap);
  byId("second").hidden = compared === null;
  byId("versus").disabled = compared === null;
  let words = "";
  if (drawn) {
    const { class: name, versus, evidence } = answer.explained;
    words = meaning(name, evidence, versus);
    showHeat(byId("first"), drawn, null, null, style(), words);
  } else {
    words = heatOf(byId("first"), chosen);
  }
  if (compared !== null && bitmap && listed(compared)?.heatmap) heatOf(byId("second"), compared);
  else byId("second").hidden = true;
  byId("shown").textContent = words;
  byId("snippet").textContent = snippet(byId("language").value, state.file.name, state.options);
}

function heatOf(figure, index) {
  const { class: name, heatmap } = listed(index);
  const words = meaning(name, heatmap.some((row) => row.some((value) => value > 0)), null);
  showHeat(figure, state.bitmap, state.answer.image.box, heatmap, style(), words);
  return words;
}

// The maps of all listed classes are there: another class needs a question only where the service draws.
function choose(index) {
  state.chosen = index;
  if (state.compared === index) state.compared = null;
  if (state.drawn) question();
  else show();
}

function showPlain(plain) {
  if (!state.bitmap || !state.answer) return;
  if (!plain) return show();
  for (const id of ["first", "second"]) draw(byId(id).querySelector("canvas"), state.bitmap);
}

async function open(file) {
  Object.assign(state, { file, answer: null, drawn: null, chosen: null, compared: null });
  byId("versus").checked = false;
  byId("answer").inert = true;
  byId("alert").hidden = true;
  byId("invitation").hidden = true;
  byId("second").hidden = true;
  byId("result").textContent = "Looking…";
  byId("shown").textContent = "";
  byId("sure").textContent = "";
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (state.file !== file) return;
  state.bitmap = bitmap;
  byId("first").hidden = bitmap === null;
  if (bitmap) showHeat(byId("first"), bitmap, null, null, style(), "");
  question();
}

function take(files) {
  stage.classList.remove("dragged");
  if (!files.length) return;
  showSeveral([...files], open);
  open(files[0]);
}

async function sample(name) {
  const response = await fetch(`samples/${name}.jpg`).catch(() => null);
  if (!response?.ok) return complain({ complaint: "The sample cannot be loaded.", retry: false });
  take([new File([await response.blob()], `${name}.jpg`, { type: "image/jpeg" })]);
}

rowsFor(LISTED);
for (const name of Object.keys(palettes)) byId("colormap").append(new Option(name));
form.onsubmit = (event) => event.preventDefault();
for (const id of ["alpha", "colormap"]) {
  byId(id).oninput = () => {
    if (!state.drawn) return show();
    clearTimeout(timer);
    timer = setTimeout(question, PAUSE_MS);
  };
}
byId("method").onchange = () => state.file && question();
byId("key").oninput = () => {
  clearTimeout(timer);
  timer = setTimeout(() => state.file && question(), PAUSE_MS);
};
byId("compared").onchange = ({ target }) => {
  const asked = state.drawn;
  state.compared = target.value === "" ? null : Number(target.value);
  if (state.compared === null) byId("versus").checked = false;
  if (asked || againstAnother()) question();
  else show();
};
byId("versus").onchange = () => question();
byId("language").onchange = show;
byId("copy").onclick = () => navigator.clipboard.writeText(byId("snippet").textContent);
byId("csv").onclick = () => download("photos.csv", asCsv());
byId("card").ontoggle = async () => {
  if (!byId("card").open) return;
  state.model ??= await fetchModel();
  if (state.model) showCard(state.model);
};
for (const button of document.querySelectorAll("[data-sample]")) button.onclick = () => sample(button.dataset.sample);
photo.onchange = () => take(photo.files);
byId("camera").querySelector("input").onchange = ({ target }) => take(target.files);
byId("again").onclick = question;
for (const [event, plain] of [["pointerdown", true], ["pointerup", false], ["pointerleave", false]]) {
  byId("plain").addEventListener(event, () => showPlain(plain));
}
const isHold = ({ key, target }) =>
  (key === "h" && !target.matches("select, [type=search], [type=password]")) || (key === " " && target === byId("plain"));
document.onkeydown = (event) => {
  if (!event.repeat && isHold(event)) showPlain(true);
};
document.onkeyup = (event) => {
  if (isHold(event)) showPlain(false);
};
document.ondragover = (event) => { event.preventDefault(); stage.classList.add("dragged"); };
document.ondragleave = () => stage.classList.remove("dragged");
document.ondrop = (event) => { event.preventDefault(); take(event.dataTransfer.files); };
document.onpaste = (event) => take(event.clipboardData.files);
