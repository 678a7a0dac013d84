// The page itself: one image on the stage, one question at a time.
const PAUSE_MS = 150;
const [form, stage] = ["form", "stage"].map(byId);
const state = { file: null, bitmap: null, answer: null, drawn: null, chosen: null, compared: null, model: null, top: null, options: {} };
let latest = new AbortController();
let timer = 0;
let picks = 0; // images and samples that people asked for

const style = () => ({ alpha: Number(byId("alpha").value), colormap: byId("colormap").value });
const listed = (index) => state.answer?.detail.find((one) => one.index === index);
const fits = ({ width, height }) => state.bitmap.width === width && state.bitmap.height === height;
const againstAnother = () => state.compared !== null && byId("versus").checked;

// A class as the service takes it in a form: its index, or its name in quotes where the index is the name of a class.
function named(index) {
  const labels = state.model?.labels ?? [];
  return index !== null && labels.includes(String(index)) ? JSON.stringify(labels[index]) : index;
}

// Ask for what is on the stage. The service draws where the browser cannot: files that it cannot read, and `versus`.
async function question() {
  clearTimeout(timer);
  latest.abort();
  latest = new AbortController();
  const { signal } = latest;
  const drawn = state.bitmap === null || againstAnother();
  state.options = { method: byId("method").value, gradcam: drawn, heatmaps: !drawn, top_k: state.top };
  if (drawn) Object.assign(state.options, style(), { target: named(state.chosen), versus: againstAnother() ? named(state.compared) : null });
  stage.ariaBusy = "true";
  const answer = await ask(state.file, state.options, signal);
  if (answer === null) return;
  if (answer.success && state.bitmap !== null && !fits(answer.image)) {
    state.bitmap = null; // the browser turns the file in another way than the service, and its heat would be misplaced
    return question();
  }
  if (answer.success && seesUnlisted(answer)) {
    const model = await knownModel(answer.model);
    if (signal.aborted) return;
    state.top = model.labels?.length ?? null;
    if (state.top) return question();
  }
  const drawing = drawn && answer.success ? await picture(answer) : null;
  if (signal.aborted) return; // another image or option was chosen meanwhile
  stage.ariaBusy = "false";
  if (!answer.success) return complain(answer);
  state.answer = answer;
  if (!drawn && !listed(state.chosen)) state.chosen = null; // such as after the service got another model
  state.chosen ??= (answer.detail.find(({ class: name }) => answer.results?.includes(name)) ?? answer.detail[0]).index;
  state.drawn = drawing;
  byId("alert").hidden = true;
  byId("answer").inert = false;
  show();
  if (state.model?.model === answer.model) return;
  const model = await knownModel(answer.model);
  if (!model.success) return;
  state.model = model;
  show();
  showCard(model);
}

// A multi-label model may see more classes than are listed: they are listed too, once it is known how many there are.
function seesUnlisted({ detail, results }) {
  return state.top === null && results?.some((name) => detail.every((one) => one.class !== name));
}

async function picture({ gradcam, explained }) {
  const bytes = Uint8Array.from(atob(gradcam), (letter) => letter.charCodeAt(0));
  return createImageBitmap(new Blob([bytes], { type: `image/${explained.format}` }));
}

function show() {
  const { answer, bitmap, drawn, chosen, compared } = state;
  if (!answer) return;
  showRows(answer, chosen, choose, state.model?.output);
  showWords(answer, state.model);
  offer(answer, chosen, compared);
  byId("legend").hidden = false;
  byId("plain").hidden = bitmap === null; // the browser has only what the service has drawn
  drawScale(byId("scale"), style().colormap);
  byId("versus").disabled = compared === null;
  let words = "";
  if (drawn) {
    const { class: name, versus, evidence } = answer.explained;
    words = meaning(name, evidence, versus);
    showHeat(byId("first"), words, drawn);
  } else {
    words = heatOf(byId("first"), chosen);
  }
  if (bitmap && listed(compared)?.heatmap) heatOf(byId("second"), compared);
  else byId("second").hidden = true;
  byId("shown").textContent = words;
  byId("snippet").textContent = snippet(byId("language").value, state.file.name, state.options);
}

function heatOf(figure, index) {
  const { class: name, heatmap } = listed(index);
  const words = meaning(name, hasHeat(heatmap), null);
  showHeat(figure, words, state.bitmap, state.answer.image.box, heatmap, style());
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
  latest.abort(); // else its answer, about another image, may come while this one is decoded
  Object.assign(state, { file, answer: null, drawn: null, chosen: null, compared: null, top: null });
  byId("versus").checked = false;
  byId("answer").inert = true;
  for (const id of ["alert", "invitation", "second"]) byId(id).hidden = true;
  byId("result").textContent = "Looking…";
  for (const id of ["shown", "sure"]) byId(id).textContent = "";
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (state.file !== file) return;
  state.bitmap = bitmap;
  byId("first").hidden = bitmap === null;
  if (bitmap) showHeat(byId("first"), "", bitmap);
  question();
}

function take(files) {
  stage.classList.remove("dragged");
  if (!files.length) return;
  picks += 1;
  showSeveral([...files], open);
  open(files[0]);
}

// A folder would be taken for a file that cannot be read, as if there were no connection.
function drop({ items, files }) {
  if (![...items].some((one) => one.webkitGetAsEntry()?.isDirectory)) return take(files);
  stage.classList.remove("dragged");
  complain({ trouble: "A folder is not an image", complaint: "Open it, and drop the images in it.", retry: false });
}

async function sample(name) {
  const pick = (picks += 1);
  const response = await fetch(`samples/${name}.jpg`).catch(() => null);
  const image = response?.ok ? await response.blob().catch(() => null) : null;
  if (pick !== picks) return; // another image was chosen meanwhile
  if (!image) return complain({ trouble: "The sample cannot be loaded", complaint: "Check the connection.", retry: false });
  take([new File([image], `${name}.jpg`, { type: "image/jpeg" })]);
}

async function fillCard() {
  if (byId("card").open) showCard(await knownModel());
}

async function retry() {
  await fillCard();
  if (!state.file) return;
  retrySeveral();
  question();
}

// Browsers have no clipboard for pages without TLS, other than on this machine: there it is copied as by hand.
async function copy() {
  if (navigator.clipboard) await navigator.clipboard.writeText(byId("snippet").textContent);
  else {
    getSelection().selectAllChildren(byId("snippet"));
    document.execCommand("copy");
  }
  byId("copy").textContent = "Copied";
  setTimeout(() => { byId("copy").textContent = "Copy"; }, 2000);
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
byId("key").onchange = retry;
byId("compared").onchange = ({ target }) => {
  const asked = state.drawn;
  state.compared = target.value === "" ? null : Number(target.value);
  if (state.compared === null) byId("versus").checked = false;
  if (asked || againstAnother()) question();
  else show();
};
byId("versus").onchange = question;
byId("language").onchange = show;
byId("copy").onclick = copy;
byId("csv").onclick = () => download("images.csv", asCsv());
byId("card").ontoggle = fillCard;
for (const button of document.querySelectorAll("[data-sample]")) button.onclick = () => sample(button.dataset.sample);
byId("file").onclick = ({ target }) => { target.value = ""; }; // else the file chosen last cannot be chosen again
byId("file").onchange = ({ target }) => take(target.files);
byId("camera").querySelector("input").onchange = ({ target }) => take(target.files);
byId("again").onclick = retry;
for (const [event, plain] of [["pointerdown", true], ["pointerup", false], ["pointerleave", false]]) {
  byId("plain").addEventListener(event, () => showPlain(plain));
}
const isHold = ({ key, target }) =>
  (["h", "H"].includes(key) && !target.matches("select, [type=search], [type=password]")) || (key === " " && target === byId("plain"));
document.onkeydown = (event) => {
  if (!event.repeat && !event.ctrlKey && !event.metaKey && isHold(event)) showPlain(true);
};
document.onkeyup = (event) => {
  if (isHold(event)) showPlain(false);
};
globalThis.onblur = () => showPlain(false); // the key may be released in another window
document.ondragover = (event) => { event.preventDefault(); stage.classList.add("dragged"); };
document.ondragleave = () => stage.classList.remove("dragged");
document.ondrop = (event) => { event.preventDefault(); drop(event.dataTransfer); };
document.onpaste = (event) => take(event.clipboardData.files);
